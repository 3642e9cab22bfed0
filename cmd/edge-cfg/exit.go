package main

// exitDiffers is the exit code of diff --exit-code, which no other command has.
const exitDiffers = 5

// exitHalted is the exit code of rollout wait for one that halted.
const exitHalted = 6
