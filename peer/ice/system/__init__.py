"""The operating system below the seam: sockets, interfaces, name resolution, mDNS."""
