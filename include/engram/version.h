/* Version of the library and the command; the only place where it is written. */
#ifndef ENGRAM_VERSION_H
#define ENGRAM_VERSION_H

#define ENGRAM_VERSION_MAJOR 0
#define ENGRAM_VERSION_MINOR 1
#define ENGRAM_VERSION_PATCH 0
#define ENGRAM_VERSION "0.1.0"

#endif
