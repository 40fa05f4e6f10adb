"""tradeops: put a trading daemon on many servers, prove what runs there, and stop all of it at once."""
