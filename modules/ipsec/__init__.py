"""IPsec on top of the virtual network: the kernel encrypts, strongSwan's charon negotiates, certificates decide."""
