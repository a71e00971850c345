"""mixmail: serverless anonymous mail."""

__version__ = "0.1.0"
