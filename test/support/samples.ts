/** Parameters that every method takes, for a manager of test/support/manager.ts: what is refused then is refused for another reason. */
import type { ApiName, ApiParams } from '../../lib/api/methods.js'
import { registration } from './manager.js'

type Samples = { readonly [N in ApiName]?: Omit<ApiParams<N>, 'request'> }

const samples: Samples = {
  hostShow: { host: 'st1' }, hostDrainPlan: { host: 'st1' }, hostDrain: { host: 'st3' }, hostFail: { host: 'st3', force: true }, hostUse: { host: 'st3' },
  diskAdd: { host: 'st1', device: '/dev/sdz', force: false }, diskShow: { disk: 'st1:/dev/sdb' }, diskRemove: { disk: 'st3:/dev/sdb' }, diskEvacuationPlan: { disk: 'st1:/dev/sdb' },
  diskEvacuate: { disk: 'st3:/dev/sdb' }, diskFail: { disk: 'st3:/dev/sdb' }, diskUse: { disk: 'st3:/dev/sdb' },
  volumeCreate: { name: 'fresh', bytes: 1024n * 1024n, redundancy: 1 }, volumeShow: { volume: 'v1' }, volumeAttach: { volume: 'v2', host: 'hd1' }, volumeDetach: { volume: 'v1' }, volumeDelete: { volume: 'v3' },
  jobShow: { job: 'none' }, jobCancel: { job: 'none' }, settingSet: { name: 'repair.grace', value: 77 }, explain: { object: 'v1' },
  hostInvite: { name: 'st9' }, hostRevoke: { name: 'st9' }, hostJoin: { csr: `-----BEGIN CERTIFICATE REQUEST-----\n${'A'.repeat(64)}\n-----END CERTIFICATE REQUEST-----\n`, addresses: [] },
  tokenCreate: { name: 'fresh', role: 'viewer' }, tokenRevoke: { token: 'none' }, userCreate: { name: 'fresh', role: 'viewer', password: 'a long password' }, userPassword: { user: 'none', password: 'another password' }, userRevoke: { user: 'none' },
  managerBackupPiece: { backup: '0123456789abcdef', piece: 0 }, managerBackupEnd: { backup: '0123456789abcdef' },
  hostRegister: { ...registration('st1', 'storage'), version: 'newer' }, hostHeartbeat: { name: 'st1', bootId: 'boot-1', incarnation: 'inc-1', changed: 1 }, hostReport: { name: 'st1', bootId: 'boot-1', incarnation: 'inc-1', volumes: [] },
}

export function sampleOf<N extends ApiName>(name: N): Omit<ApiParams<N>, 'request'> {
  return samples[name] ?? ({} as ApiParams<N>)
}
