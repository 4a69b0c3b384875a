"""DeepLabv3+: encoder, ASPP, decoder, initial weights."""
