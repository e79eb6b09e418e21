// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package addressspace ends the program with a message where RLIMIT_AS (ulimit -v) is
// smaller than what Go reserves at its start, before Go ends it with a dump. Importing
// it is enough.
package addressspace

import "C"
