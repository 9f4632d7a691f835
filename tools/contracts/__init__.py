"""The contracts that uPerun's channels live on, for development chains.

contracts.build.artifact(name)   what the compiler made of src/: ABI and code
contracts.anvil.Anvil            a fresh chain in a process of its own
contracts.deploy.deploy(web3)    the contracts on a chain
contracts.gas.measure()          what every call costs
"""
