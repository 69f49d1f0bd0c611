"""The walls, one file each. Each holds alone; which stand in which tier is decided in tiers.py."""
