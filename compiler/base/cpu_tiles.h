// Tiles of the CPU (AMX): Linux lets a process use them that has asked.
#ifndef HEDDLE_BASE_CPU_TILES_H
#define HEDDLE_BASE_CPU_TILES_H

#include <stdbool.h>

// Asks once a process. The CPU must have them.
bool cpu_may_use_tiles(void);

#endif
