/**
 * The whole error vocabulary on one page. A name gives its XML-RPC fault code, its class (which the CLI turns into an exit
 * code) and the advice for the person who meets it. A name outside this table does not compile.
 *
 * Codes 1000 and up are ours; the five of the XML-RPC fault-code convention keep their numbers.
 */
export type FaultClass = 'usage' | 'not found' | 'conflict' | 'no room' | 'unavailable' | 'denied' | 'stale' | 'internal'

export interface FaultSpec {
  readonly code: number
  readonly class: FaultClass
  readonly correction: string
}

export const faults = {
  'parse error': { code: -32700, class: 'usage', correction: 'send a well-formed XML-RPC methodCall' },
  'invalid request': { code: -32600, class: 'usage', correction: 'send one struct as the only parameter' },
  'unknown method': { code: -32601, class: 'usage', correction: 'system.listMethods names the methods that exist' },
  'bad parameter': { code: -32602, class: 'usage', correction: 'system.methodHelp tells the parameters of a method' },
  'internal error': { code: -32603, class: 'internal', correction: 'look for the log id in the log of the process that answered' },

  'unknown volume': { code: 1001, class: 'not found', correction: 'vsky volume list names the volumes' },
  'unknown host': { code: 1002, class: 'not found', correction: 'vsky host list names the hosts' },
  'unknown disk': { code: 1003, class: 'not found', correction: 'vsky disk list names the disks' },
  'unknown job': { code: 1004, class: 'not found', correction: 'vsky job list names the jobs' },
  'unknown extent': { code: 1005, class: 'not found', correction: 'the next turn of the manager puts it right' },
  'unknown object': { code: 1006, class: 'not found', correction: 'name a volume, a host, a disk (HOST:DEVICE) or a job' },
  'unknown token': { code: 1007, class: 'not found', correction: 'vsky token list names the tokens' },
  'unknown user': { code: 1008, class: 'not found', correction: 'vsky user list names the users' },
  'unknown backup': { code: 1009, class: 'not found', correction: 'take another: vsky manager backup FILE' },

  'name taken': { code: 1101, class: 'conflict', correction: 'choose another name, or do away with what has it' },
  'volume busy': { code: 1102, class: 'conflict', correction: 'wait for what is under way (vsky volume show tells), then try again' },
  'volume attached': { code: 1103, class: 'conflict', correction: 'detach the volume from its head server first' },
  'volume in use': { code: 1104, class: 'conflict', correction: 'unmount it, or stop the guest that has it open, on its head server' },
  'disk has data': { code: 1105, class: 'conflict', correction: 'choose an empty disk, or give --force to erase it' },
  'disk in use': { code: 1106, class: 'conflict', correction: 'delete or move the extents on it first' },
  'disk taken': { code: 1107, class: 'conflict', correction: 'vsky disk list shows it: nothing has to be done' },
  'request reused': { code: 1108, class: 'conflict', correction: 'use a new request id for a different request' },
  'wrong role': { code: 1109, class: 'conflict', correction: 'choose a host with the role that is needed' },
  'job finished': { code: 1110, class: 'conflict', correction: 'nothing has to be done' },
  'foreign object': { code: 1111, class: 'conflict', correction: 'something that Vsky did not make stands in the way: remove or rename it by hand' },

  'host online': { code: 1112, class: 'conflict', correction: 'ask it: detach the volume there, or stop the host first' },
  'not cancellable': { code: 1113, class: 'conflict', correction: 'copies can be held instead: vsky setting set resync.paused 1' },
  'no standby': { code: 1115, class: 'conflict', correction: 'vsky manager status names the managers that could take over; start another one' },
  'host not in use': { code: 1114, class: 'conflict', correction: 'vsky host use takes it into use again; or choose another host' },
  'other release': { code: 1116, class: 'conflict', correction: 'upgrade the older of the two: neighbouring releases understand each other' },
  'audit broken': { code: 1118, class: 'conflict', correction: 'somebody has changed the audit log: compare it with a backup, and with the heads that the managers wrote to their logs' },
  'secret gone': { code: 1119, class: 'conflict', correction: 'a secret is told once: make another (vsky token revoke and create, or vsky host invite)' },

  'backup busy': { code: 1121, class: 'conflict', correction: 'wait until one of them has ended: the manager gives one up that nobody asks for any more' },

  'no room': { code: 1201, class: 'no room', correction: 'add a disk on a storage server that holds no leg of this volume' },
  'too few servers': { code: 1202, class: 'no room', correction: 'ask for fewer legs, or add storage servers' },

  'host offline': { code: 1301, class: 'unavailable', correction: 'start the agent on that host, or choose another host' },
  'not active': { code: 1302, class: 'unavailable', correction: 'ask the manager that is active' },
  'data unavailable': { code: 1303, class: 'unavailable', correction: 'bring back a storage server that holds an in-sync leg' },
  'agent failed': { code: 1304, class: 'unavailable', correction: 'look at the log of the agent; the manager tries again' },
  'wrong device': { code: 1305, class: 'unavailable', correction: 'the device found is not the extent expected: check the storage server; nothing was touched' },
  'state unavailable': { code: 1307, class: 'unavailable', correction: 'ask again in a moment: the manager can\'t reach its database; volumes serve on meanwhile' },
  'backup failed': { code: 1308, class: 'unavailable', correction: 'put right what it says on the manager\'s host, and take another: vsky manager backup FILE' },
  'timed out': { code: 1306, class: 'unavailable', correction: 'the work goes on: vsky job list shows it' },

  'no authority': { code: 1120, class: 'conflict', correction: 'ask a manager whose configuration names the authority and an address; or issue a certificate by hand (vsky-manager issue)' },
  'denied': { code: 1401, class: 'denied', correction: 'use a certificate, token or user whose role allows this method' },
  'not authenticated': { code: 1402, class: 'denied', correction: 'use a token or a user that exists and has not expired, with its own secret; or a certificate of this cluster' },
  'invitation used': { code: 1404, class: 'denied', correction: 'an invitation lets one key in, once: make another (vsky host invite)' },
  'too many attempts': { code: 1403, class: 'unavailable', correction: 'wait as long as the message says; who was let in a short time ago, or has a certificate, need not' },

  'stale epoch': { code: 1501, class: 'stale', correction: 'none: another manager is active now' },
  'stale generation': { code: 1502, class: 'stale', correction: 'none: the layout has changed since; the manager tries again' },
} as const satisfies Record<string, FaultSpec>

export type FaultName = keyof typeof faults

/** A failure with a name from the table. `message` says what was being done, to what, what was found and what was needed. */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly fault: FaultName
  constructor(fault: FaultName, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.fault = fault
  }
  get code(): number {
    return faults[this.fault].code
  }
}

const byCode: ReadonlyMap<number, FaultName> = new Map(
  Object.entries(faults).map(([name, spec]) => [spec.code, name as FaultName]),
)

/** The name behind a wire code; undefined for a code that is not in the table. */
export function faultNameOf(code: number): FaultName | undefined {
  return byCode.get(code)
}

/** The message of anything thrown, for a log line or an event. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
