"""S3 and its queue: what messages say, what an object's tags say and are to say."""
