"""Commands about the processes: doctor, top, support-bundle, token."""
