/**
 * The manager's API: every method once. One struct in, one value out. The server validates by this table, system.methodHelp is
 * made from it, and the CLI types its calls by it.
 *
 * A method that changes something takes `request`, an id that the caller makes up: the same id again joins the first call or
 * gives its result, so a caller who lost the answer simply asks again. When the work takes longer than a call may, the fault is
 * `timed out`: the work goes on, and the same call with the same id waits for it again.
 */
import type { FaultName } from '../faults.js'
import { diskStates, hostRoles, legStates, limits, namePattern, nameRule, volumePhases } from '../model.js'
import { byteCount, flag, int, list, optional, record, secretText, struct, text, word } from '../rpc/shape.js'
import type { Method, OptionalShape, Parsed, Shape } from '../rpc/shape.js'
import { volumeSeen } from '../wire/agent.js'
import { tokenRoles, userRoles } from './roles.js'
import type { ApiRole, Asks, HypervisorReach } from './roles.js'
import {
  auditEntryView, auditHeadView, backupView, diskView, eventView, explainView, hostView, jobKinds, jobStates, jobView, jobWorks, leaseView, legRow, managerView, movePlanView, rebalancePlanView, segmentRow,
  settingView, statusView, tokenView, userView,
  volumeSummary, volumeView,
} from './views.js'

export interface ApiMethod<P, R> extends Method<P, R>, Asks {
  /** True when it takes a request id and is safe to repeat with it. */
  readonly mutates: boolean
  readonly faults: readonly FaultName[]
}

function method<P, R>(
  name: string, help: string, { mutates = false, faults = [], ...asks }: { role: ApiRole; hypervisor?: HypervisorReach; mutates?: boolean; faults?: readonly FaultName[] },
  params: Shape<P>, result: Shape<R>,
): ApiMethod<P, R> {
  return { name, help, ...asks, mutates, faults, params, result }
}

const volumeName = text({ min: 1, max: limits.nameMax, pattern: namePattern, describe: nameRule })
/** A reference to something that should exist is any text: an unknown one is `not found`, not malformed. */
const reference = text({ min: 1, max: 255 })
const devicePath = text({ min: 6, max: 255, pattern: /^\/dev\/[A-Za-z0-9_./:+-]+$/, describe: 'the path of a block device, /dev/…' })
/** What an agent says of itself and people read. */
const plain = ({ min = 0, max }: { min?: number; max: number }): Shape<string> => text({ min, max, pattern: /^[\x20-\x7e]*$/, describe: `${min} to ${max} printable characters` })
const request = text({ min: 8, max: 64, pattern: /^[A-Za-z0-9._:-]+$/, describe: 'a request id: 8 to 64 letters, digits, dots, dashes' })
/** Whether the answer comes when the work is done (or `timed out`, after 25 s), or as soon as it is written down. */
const wait = optional(flag('false: answer as soon as the work is accepted; default true'))
/** Paging: see lists.ts. */
const limit = optional(int({ min: 1, max: 1000, describe: 'rows at most, 1 to 1000; default 1000' }))
const after = (key: string): OptionalShape<string> => optional(text({ min: 1, max: 400, describe: `only rows behind this one: ${key}` }))
const prefix = optional(text({ min: 1, max: 63, describe: 'only names that begin so' }))
const credentialName = text({ min: 1, max: 63, pattern: namePattern, describe: nameRule })
const password = secretText({ min: 12, max: 256, pattern: /^[^\p{Cc}\p{Cs}]*$/u, describe: 'a password: 12 to 256 characters, none of them a control character' })
const backupId = text({ min: 1, max: 64, pattern: /^[0-9a-f]+$/, describe: 'the id of a backup' })
const none = struct({})
const done = record({})

export const apiMethods = {
  hostList: method('vsky.host.list', 'Hosts, by name', { role: 'viewer' },
    struct({ prefix, role: optional(word(...hostRoles)), state: optional(word('online', 'offline')), duty: optional(word('use', 'drain', 'failed')), limit, after: after('its name') }), list(hostView)),
  hostShow: method('vsky.host.show', 'One host, with what is on it that Vsky did not make', { role: 'viewer', hypervisor: 'own host', faults: ['unknown host'] },
    struct({ host: reference }), hostView),

  hostInvite: method('vsky.host.invite', 'Lets a host join: makes an invitation for it, which is good once. A new one takes the place of the one that it had',
    { role: 'admin', mutates: true, faults: ['no authority', 'secret gone'] },
    struct({ name: credentialName, ttlSeconds: optional(int({ min: 60, max: 30 * 86_400, describe: 'how long it is good for, 60 to 2592000 seconds; default an hour' })), request }),
    record({ host: text(), expiresAt: int(), invitation: text() })),
  hostRevoke: method('vsky.host.revoke', 'Lets the agent of a host in by no certificate any more, until the host is invited anew. Its volumes go on',
    { role: 'admin', mutates: true, faults: ['unknown host'] }, struct({ name: credentialName, request }), done),

  hostDrainPlan: method('vsky.host.drainPlan', 'What moving all legs away from a storage server would do', { role: 'viewer', faults: ['unknown host'] },
    struct({ host: reference }), movePlanView),
  hostDrain: method('vsky.host.drain', 'Moves all legs away from a storage server; for a head: refused while volumes are attached, then nothing is attached to it any more',
    { role: 'operator', mutates: true, faults: ['unknown host', 'no room', 'volume attached'] }, struct({ host: reference, request, wait }), hostView),
  hostFail: method('vsky.host.fail', 'Counts a host as lost: its legs are made anew elsewhere, its volumes are taken from it as soon as it is shut out',
    { role: 'operator', mutates: true, faults: ['unknown host', 'host online'] }, struct({ host: reference, force: flag(), request, wait }), hostView),
  hostUse: method('vsky.host.use', 'Takes a host that was drained or failed into use again; ends a drain that is under way',
    { role: 'operator', mutates: true, faults: ['unknown host'] }, struct({ host: reference, request, wait }), hostView),

  diskAdd: method('vsky.disk.add', 'Gives a block device of a storage server to Vsky. A disk with a signature or data is refused unless forced',
    { role: 'operator', mutates: true, faults: ['unknown host', 'wrong role', 'host offline', 'disk has data', 'disk taken', 'agent failed', 'timed out'] },
    struct({ host: reference, device: devicePath, force: flag(), request, wait }),
    diskView),
  diskList: method('vsky.disk.list', 'Disks, by host and device', { role: 'viewer', faults: ['unknown host'] },
    struct({ host: optional(reference), state: optional(word(...diskStates)), duty: optional(word('use', 'evacuate', 'failed')), limit, after: after('its HOST:DEVICE') }), list(diskView)),
  diskShow: method('vsky.disk.show', 'One disk, by id or as HOST:DEVICE', { role: 'viewer', faults: ['unknown disk'] }, struct({ disk: reference }), diskView),
  diskRemove: method('vsky.disk.remove', 'Takes an empty disk back from Vsky and removes its label',
    { role: 'operator', mutates: true, faults: ['unknown disk', 'disk in use', 'host offline', 'agent failed', 'timed out'] },
    struct({ disk: reference, request, wait }), done),

  diskEvacuationPlan: method('vsky.disk.evacuationPlan', 'What moving all legs away from a disk would do', { role: 'viewer', faults: ['unknown disk'] },
    struct({ disk: reference }), movePlanView),
  diskEvacuate: method('vsky.disk.evacuate', 'Moves all legs away from a disk',
    { role: 'operator', mutates: true, faults: ['unknown disk', 'no room'] }, struct({ disk: reference, request, wait }), diskView),
  diskFail: method('vsky.disk.fail', 'Counts a disk as lost: its legs are made anew elsewhere', { role: 'operator', mutates: true, faults: ['unknown disk'] },
    struct({ disk: reference, request, wait }), diskView),
  diskUse: method('vsky.disk.use', 'Takes a disk that was evacuated or failed into use again; ends an evacuation that is under way; its read errors are counted from the beginning',
    { role: 'operator', mutates: true, faults: ['unknown disk'] }, struct({ disk: reference, request, wait }), diskView),

  rebalancePlan: method('vsky.rebalance.plan', 'What moving legs from fuller disks to emptier ones would do', { role: 'viewer' }, none, rebalancePlanView),
  rebalanceApply: method('vsky.rebalance.apply', 'Moves legs from fuller disks to emptier ones, a few at a time, until the fullest and the emptiest differ by no more than 5 % of their size, or no move makes it better. Repairs and evacuations come first. Joins one that is under way',
    { role: 'operator', mutates: true }, struct({ request, wait }), jobView),

  volumeCreate: method('vsky.volume.create', 'Makes a volume: places its legs, makes and zeroes their extents',
    { role: 'operator', mutates: true, faults: ['bad parameter', 'name taken', 'no room', 'too few servers', 'agent failed', 'timed out'] },
    struct({
      name: volumeName,
      bytes: byteCount('the size in bytes, as a decimal string: at least 1048576, a multiple of 512'),
      redundancy: optional(int({ min: 1, max: limits.legsMax, describe: `the number of legs, 1 to ${limits.legsMax}` })),
      request, wait,
    }), volumeView),
  volumeList: method('vsky.volume.list', 'Volumes without their segments, by name', { role: 'viewer', hypervisor: 'all' },
    struct({ prefix, state: optional(word(...volumePhases)), host: optional(reference), limit, after: after('its name') }), list(volumeSummary)),
  volumeShow: method('vsky.volume.show', 'One volume, with its segments and legs', { role: 'viewer', hypervisor: 'all', faults: ['unknown volume'] },
    struct({ volume: reference }), volumeView),
  volumeAttach: method('vsky.volume.attach', 'Makes the volume appear as /dev/vsky/NAME on a head server',
    { role: 'operator', hypervisor: 'own host', mutates: true,
      faults: ['unknown volume', 'unknown host', 'wrong role', 'host offline', 'host online', 'host not in use', 'volume attached', 'volume busy', 'data unavailable', 'wrong device', 'foreign object', 'agent failed', 'timed out'] },
    struct({
      volume: reference, host: reference,
      /** The head that has it is lost: it is shut out first. Never for a hypervisor: that is another host's attachment. */
      fromDeadHost: optional(flag()),
      request, wait,
    }), volumeView),
  volumeDetach: method('vsky.volume.detach', 'Removes the volume from its head server. Refused while something there has it open',
    { role: 'operator', hypervisor: 'own volume', mutates: true, faults: ['unknown volume', 'volume busy', 'volume in use', 'host offline', 'agent failed', 'timed out'] },
    struct({ volume: reference, request, wait }), volumeView),
  volumeDelete: method('vsky.volume.delete', 'Removes a detached volume and overwrites its extents. Servers that are away are cleaned when they return',
    { role: 'operator', mutates: true, faults: ['unknown volume', 'volume attached', 'volume busy', 'timed out'] },
    struct({ volume: reference, request, wait }), done),

  segmentList: method('vsky.segment.list', 'Segments with their legs, by volume and index: of one volume, or those with a leg on a host or a disk', { role: 'viewer', faults: ['unknown volume', 'unknown host', 'unknown disk', 'bad parameter'] },
    struct({ volume: optional(reference), host: optional(reference), disk: optional(reference), limit, after: after('its VOLUME/INDEX') }), list(segmentRow)),
  legList: method('vsky.leg.list', 'Legs, by the id of their extent, those that are still to be removed among them: of a volume, a host, a disk', { role: 'viewer', faults: ['unknown volume', 'unknown host', 'unknown disk'] },
    struct({ volume: optional(reference), host: optional(reference), disk: optional(reference), state: optional(word(...legStates)), limit, after: after('its extent') }), list(legRow)),

  eventList: method('vsky.event.list', 'Events after a sequence number, oldest first; waits up to `waitMs` for one when there is none',
    { role: 'viewer' },
    struct({
      after: optional(int()), limit: optional(int({ min: 1, max: 1000, describe: 'rows at most, 1 to 1000; default 200' })), waitMs: optional(int({ max: 30_000 })),
      newest: optional(flag('true: the newest ones instead of the first; default false')), about: optional(word('volume', 'host', 'disk', 'manager')), name: optional(reference), kind: optional(text({ min: 1, max: 100, describe: 'only kinds that begin so' })),
    }), list(eventView)),
  auditList: method('vsky.audit.list', 'The audit log, oldest first: every call that changed something or was denied, and who was not let in, each entry chained to the one before by its hash',
    { role: 'admin' },
    struct({
      after: optional(int({ describe: 'only entries after this number' })), limit: optional(int({ min: 1, max: 1000, describe: 'rows at most, 1 to 1000; default 200' })),
      newest: optional(flag('true: the newest ones instead of the first; default false')),
      who: optional(text({ min: 1, max: 255, describe: 'only calls of this name' })), method: optional(text({ min: 1, max: 128, describe: 'only calls of this method' })),
    }), list(auditEntryView)),
  auditHead: method('vsky.audit.head', 'The end of the audit log: whoever keeps it can see later that nothing before it was changed or cut off', { role: 'admin' }, none, auditHeadView),
  jobList: method('vsky.job.list', 'Jobs: those that run or wait, then the newest `ended` of the others', { role: 'viewer', faults: ['unknown job'] },
    struct({
      ended: optional(int({ max: 1000, describe: 'how many that have ended, 0 to 1000; default 20' })), kind: optional(word(...jobKinds)), work: optional(word(...jobWorks)), state: optional(word(...jobStates)), name: optional(reference),
      limit, after: after('its id'),
    }), list(jobView)),
  jobShow: method('vsky.job.show', 'One job', { role: 'viewer', faults: ['unknown job'] }, struct({ job: reference }), jobView),
  jobCancel: method('vsky.job.cancel', 'Ends an evacuation, a drain or a rebalance; what has been moved stays where it is', { role: 'operator', mutates: true, faults: ['unknown job', 'job finished', 'not cancellable'] },
    struct({ job: reference, request, wait }), jobView),
  settingList: method('vsky.setting.list', 'All settings, for the cluster or as they hold for one volume', { role: 'viewer', faults: ['unknown volume'] },
    struct({ volume: optional(reference) }), list(settingView)),
  settingSet: method('vsky.setting.set', 'Sets one, for the cluster or for one volume; without a value it goes back', { role: 'operator', mutates: true, faults: ['bad parameter', 'unknown volume'] },
    struct({ name: text({ min: 1, max: 64 }), value: optional(int({ min: -(2 ** 53 - 1) })), volume: optional(reference), request, wait }), settingView),
  status: method('vsky.status', 'One verdict on the cluster, and the reasons for it', { role: 'viewer' }, none, statusView),
  explain: method('vsky.explain', 'State of one thing, its cause, what is being done, and what a person may safely do next',
    { role: 'viewer', faults: ['unknown object'] }, struct({ object: reference }), explainView),
  managerStatus: method('vsky.manager.status', 'Who is active, and how the cluster is. A standby answers too: what it knows', { role: 'viewer', hypervisor: 'all' }, none, managerView),
  managerHandOver: method('vsky.manager.handOver', 'The active manager ends what it is doing and lets another take over: the one named, or any',
    { role: 'admin', mutates: true, faults: ['no standby'] }, struct({ to: optional(reference), request }), record({ from: text(), epoch: int() })),
  managerBackup: method('vsky.manager.backup', 'Makes a backup of the cluster\'s state, of one moment, while all goes on; it is then taken from this manager piece by piece. It holds secrets',
    { role: 'admin', mutates: true, faults: ['backup busy', 'unknown backup', 'backup failed', 'timed out'] }, struct({ request }), backupView),
  managerBackupPiece: method('vsky.manager.backupPiece', 'One piece of a backup, for who had it made. One that nobody asks for in five minutes is removed', { role: 'admin', faults: ['unknown backup', 'backup failed'] },
    struct({ backup: backupId, piece: int({ max: 1_000_000, describe: 'its number, from 0' }) }), record({ data: text({ max: 1024 * 1024 }) })),
  managerBackupEnd: method('vsky.manager.backupEnd', 'Removes a backup from the manager, for who had it made; he has it, or wants it no more. One that is gone already is no mistake', { role: 'admin', mutates: true },
    struct({ backup: backupId, request }), done),
  leaseShow: method('vsky.lease.show', 'The lease by which one manager is the active one', { role: 'viewer' }, none, leaseView),

  tokenList: method('vsky.token.list', 'Tokens, by name, those that have expired among them; never their secrets', { role: 'admin' },
    struct({ role: optional(word(...tokenRoles)), limit, after: after('its name') }), list(tokenView)),
  tokenCreate: method('vsky.token.create', 'Makes a token for a program. Its secret is in this answer and nowhere else: only a hash of it is kept',
    { role: 'admin', mutates: true, faults: ['bad parameter', 'name taken', 'unknown host', 'secret gone'] },
    struct({
      name: credentialName, role: word(...tokenRoles), host: optional(text({ min: 1, max: 255, describe: 'the host of a hypervisor; needed there, and nowhere else' })),
      ttlSeconds: optional(int({ min: 60, max: 10 * 366 * 86_400, describe: 'how long it is good for, 60 to 316224000 seconds; default: until it is revoked' })), request,
    }), record({ token: tokenView, secret: text() })),
  tokenRevoke: method('vsky.token.revoke', 'Takes a token away, at once', { role: 'admin', mutates: true, faults: ['unknown token'] }, struct({ token: reference, request }), done),
  userList: method('vsky.user.list', 'Users, by name; never their passwords', { role: 'admin' }, struct({ role: optional(word(...userRoles)), limit, after: after('its name') }), list(userView)),
  userCreate: method('vsky.user.create', 'Lets a person in by a password', { role: 'admin', mutates: true, faults: ['bad parameter', 'name taken'] },
    struct({ name: credentialName, role: word(...userRoles), password, request, wait }), userView),
  userPassword: method('vsky.user.password', 'Gives a user another password; the old one is worth nothing from then on', { role: 'admin', mutates: true, faults: ['bad parameter', 'unknown user'] },
    struct({ user: reference, password, request, wait }), userView),
  userRevoke: method('vsky.user.revoke', 'Takes a user away, at once', { role: 'admin', mutates: true, faults: ['unknown user'] }, struct({ user: reference, request }), done),

  hostJoin: method('vsky.host.join', 'A host that was invited gets a certificate for its key. Again with the same key: another one',
    { role: 'joiner', faults: ['no authority', 'bad parameter', 'invitation used'] },
    struct({
      csr: text({ min: 100, max: 8192, pattern: /^-----BEGIN CERTIFICATE REQUEST-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE REQUEST-----\n?$/, describe: 'a certificate request, PEM' }),
      addresses: list(text({ min: 1, max: 253, pattern: /^[A-Za-z0-9.:_-]+$/, describe: 'an IP address or a DNS name' }), { max: 8 }),
    }), record({ certificate: text({ max: 65_536 }), ca: text({ max: 65_536 }) })),
  hostRegister: method('vsky.host.register', 'An agent says who and where it is; the manager then looks at the host and puts it right',
    { role: 'agent', faults: ['denied', 'other release'] },
    record({
      name: volumeName,
      roles: list(word(...hostRoles), { max: 2 }),
      zone: text({ max: 63, pattern: /^[A-Za-z0-9._-]*$/, describe: 'at most 63 letters, digits, dots, dashes' }),
      /** host:port of the agent's own door. */
      address: text({ min: 3, max: 255, pattern: /^[A-Za-z0-9.:[\]_-]+:\d{1,5}$/, describe: 'host:port' }),
      dataAddresses: list(text({ min: 2, max: 64, pattern: /^[0-9a-fA-F.:]+$/ }), { max: 8 }),
      initiator: text({ max: 223, pattern: /^(?:iqn\.[A-Za-z0-9._:-]+)?$/, describe: 'an iSCSI name, iqn.…, or nothing' }),
      version: plain({ max: 63 }),
      bootId: plain({ min: 1, max: 64 }),
      incarnation: plain({ min: 1, max: 64 }),
      /** Devices of its configuration, to be added when they are not ours yet. */
      disks: list(devicePath, { max: 256 }),
      /** That it speaks; left out by the first release. */
      protocols: optional(record({ oldest: int({ min: 1 }), newest: int({ min: 1 }) })),
    }),
    /** `protocol`: to be spoken from now on. */
    record({ epoch: int(), heartbeatMs: int({ min: 100 }), protocol: optional(int({ min: 1 })) })),
  hostHeartbeat: method('vsky.host.heartbeat', 'An agent is alive. `known` false: register again',
    { role: 'agent', faults: ['denied'] },
    /** `changed` rises when what the host would observe has changed since the last look. */
    record({ name: volumeName, bootId: text({ max: 64 }), incarnation: text({ max: 64 }), changed: int() }),
    record({ known: flag(), epoch: int() })),
  hostReport: method('vsky.host.report', 'An agent tells what became of volumes that are attached to its host: a leg failed, a copy ended',
    { role: 'agent', faults: ['denied'] },
    record({ name: volumeName, bootId: text({ max: 64 }), incarnation: text({ max: 64 }), volumes: list(volumeSeen) }), done),
} as const

export type ApiName = keyof typeof apiMethods
export type ApiParams<N extends ApiName> = Parsed<(typeof apiMethods)[N]['params']>
export type ApiResult<N extends ApiName> = Parsed<(typeof apiMethods)[N]['result']>
