package main

// exitDiffers is the exit code of diff --exit-code, which no other command has.
const exitDiffers = 5
