/** Backups over the API: made in the manager's spool, taken from there piece by piece. That one was taken, and by whom, is in the audit log before the first byte is given out. */
import type { ApiParams, ApiResult } from '../../lib/api/methods.js'
import { Fault } from '../../lib/faults.js'
import type { Cluster } from '../run/cluster.js'
import { PIECE_BYTES } from '../store/spool.js'
import type { Made, Spool } from '../store/spool.js'
import type { Asked } from './caller.js'
import { mutate } from './requests.js'

/** How long a call waits for a backup that is being made, ms. The same call waits again. */
const WAIT_MS = 25_000

function spoolOf({ backups }: Pick<Asked, 'backups'>, { name }: Cluster): Spool {
  if (backups) return backups
  throw new Fault('backup failed', `manager ${name} has no folder to make a backup in`)
}

/** The id is drawn before the request is known to be a new one; one that only joins has the first one's. */
export async function managerBackup(cluster: Cluster, params: ApiParams<'managerBackup'>, signal: AbortSignal, asked: Asked): Promise<ApiResult<'managerBackup'>> {
  const { caller: { who } } = asked
  const spool = spoolOf(asked, cluster)
  const id = cluster.random.hex(16)
  return mutate({
    cluster, method: 'vsky.manager.backup', params, signal,
    async intend(tx) {
      spool.refuseBusy()
      await tx.event({ kind: 'backup taken', about: 'manager', name: cluster.name, text: `by ${who}` })
      return { about: id, done: true }
    },
    async answer(backup) {
      if (backup === id) spool.begin(id, who)
      const made = await waitedFor(cluster, spool.made(backup, who))
      return { backup, ...made, bytes: BigInt(made.bytes), pieceBytes: PIECE_BYTES, manager: cluster.name, epoch: cluster.store.epoch }
    },
  })
}

async function waitedFor({ clock }: Cluster, made: Promise<Made>): Promise<Made> {
  const settled = new AbortController()
  const late = async (): Promise<never> => {
    await clock.sleep(WAIT_MS, settled.signal)
    throw new Fault('timed out', `the backup is not whole after ${WAIT_MS / 1000} s; the same call waits for it again`)
  }
  try {
    return await Promise.race([made, late()])
  } finally {
    settled.abort()
    made.catch(() => undefined)
  }
}

export async function managerBackupPiece(cluster: Cluster, { backup, piece }: ApiParams<'managerBackupPiece'>, _signal: AbortSignal, asked: Asked): Promise<ApiResult<'managerBackupPiece'>> {
  return { data: await spoolOf(asked, cluster).piece(backup, asked.caller.who, piece) }
}

export async function managerBackupEnd(cluster: Cluster, params: ApiParams<'managerBackupEnd'>, signal: AbortSignal, asked: Asked): Promise<ApiResult<'managerBackupEnd'>> {
  const spool = spoolOf(asked, cluster)
  return mutate({
    cluster, method: 'vsky.manager.backupEnd', params, signal,
    intend: () => Promise.resolve({ about: params.backup, done: true }),
    answer: (backup) => spool.end(backup, asked.caller.who).then(() => ({})),
  })
}
