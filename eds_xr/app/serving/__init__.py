"""A server in this process for one app: who may ask, what may be sent, where files may lie."""
