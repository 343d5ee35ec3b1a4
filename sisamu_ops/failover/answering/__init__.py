"""Answering: what the leader accepts, refuses or lets wait."""
