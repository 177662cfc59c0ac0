"""The small models of the device, each a plain synchronous object, and the threads they run on."""
