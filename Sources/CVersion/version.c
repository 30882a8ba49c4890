#include "CVersion.h"

// A target of its own, because Swift has no definitions with a value: another commit compiles this file alone.
#ifndef ZKQ_COMMIT
#define ZKQ_COMMIT "unknown"
#endif

const char *zkq_commit(void) { return ZKQ_COMMIT; }
