/** The audit log, for who may read it. It is checked by who reads it (lib/audit.ts), so that nobody has to take this manager's word. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import type { Cluster } from '../run/cluster.js'
import { auditAfter, auditHeadOf } from '../store/audit.js'

export function auditList(cluster: Cluster, { after = 0, limit = 200, ...filter }: ApiParams<'auditList'>): Promise<ApiResult<'auditList'>> {
  return auditAfter(cluster.store.read, after, limit, filter)
}

export function auditHead(cluster: Cluster): Promise<ApiResult<'auditHead'>> {
  return auditHeadOf(cluster.store.read)
}
