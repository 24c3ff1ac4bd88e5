"""Import of annotation tools' exports: reading, splitting into train and val, skeleton drafts."""
