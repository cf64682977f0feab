import type { Claim } from './bench.js'
import { dmClaims } from './dm-claims.js'
import { headClaims } from './head-claims.js'
import { iscsiClaims } from './iscsi-claims.js'
import { lvmClaims } from './lvm-claims.js'

export const claims: readonly Claim[] = [...dmClaims, ...headClaims, ...iscsiClaims, ...lvmClaims]
