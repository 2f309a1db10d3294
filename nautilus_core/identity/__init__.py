"""Who is there: credentials, and the policies that decide whom to trust. Knows no steps and no engine."""
