"""IPsec on top of the virtual network: certificates and policies. Not built yet; its place."""
