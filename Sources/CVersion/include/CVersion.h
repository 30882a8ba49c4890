#pragma once

/// The commit that this was built from, or "unknown".
const char *_Nonnull zkq_commit(void);
