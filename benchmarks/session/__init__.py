"""What a session costs beside an ObjectClerk that goes to the same S3 server by itself."""
