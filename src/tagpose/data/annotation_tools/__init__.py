"""Exports of annotation tools: reading, splitting into train and val, drafting a skeleton."""
