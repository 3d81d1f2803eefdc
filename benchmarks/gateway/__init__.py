"""Speed and memory of the gateway, beside other servers of files on the same disk."""
