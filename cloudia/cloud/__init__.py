"""The services that cloudia stands on, one a file. Only here are boto3 and redis imported.

What speaks to AWS blocks (functions call it directly, a worker through threads); what speaks to Redis is asynchronous.
"""
