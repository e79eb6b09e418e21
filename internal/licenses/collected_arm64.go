// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package licenses

import _ "embed"

//go:embed collected.arm64.txt.gz
var compressed []byte
