"""The gateway: objects of any store over HTTP. Needs the extra ``gateway``."""
