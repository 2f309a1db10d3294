"""TLS 1.3 inside a handshake: what a profile fixes, what a TLS connection yields, its errors. The step is in `steps.tls`.

`connection` alone imports pyOpenSSL (the extra `tls`), and only once it is used.
"""

from .flight import TlsDetails, TlsFlight, TlsResult
from .settings import TlsSettings

__all__ = ["TlsDetails", "TlsFlight", "TlsResult", "TlsSettings"]
