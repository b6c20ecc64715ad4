"""The topic of state: snapshots of assets, and what a group has written down about itself."""
