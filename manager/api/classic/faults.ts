/**
 * The original's faults: Linux error numbers, 500 for what went wrong inside, 1 for a call that is none. Clients look at the number
 * alone; the text begins with its symbol, as theirs was, and goes on with the reason.
 */
import { Fault } from '../../../lib/faults.js'
import type { FaultName } from '../../../lib/faults.js'
import { WireFault } from '../../../lib/rpc/server.js'

export const errno = { ENOENT: 2, EAGAIN: 11, EBUSY: 16, EEXIST: 17, EINVAL: 22, ENOSPC: 28, EPROTO: 71, EOPNOTSUPP: 95, ETIMEDOUT: 110, EHOSTDOWN: 112 } as const
export type Errno = keyof typeof errno | 'internal'

/** `EBUSY` for 16; of a number without a name the number. */
export function errnoName(code: number): string {
  return Object.entries(errno).find(([, number]) => number === code)?.[0] ?? `fault ${code}`
}

export function refusal(name: Errno, why: string): WireFault {
  return name === 'internal' ? new WireFault(500, `Internal Server Error: ${why}`) : new WireFault(errno[name], `${name}: ${why}`)
}

/** What is no call of this API at all; the text as the original's library wrote it. */
export function noCall(exception: 'Exception' | 'TypeError' | 'ExpatError', why: string): WireFault {
  return new WireFault(1, exception === 'ExpatError' ? `<class 'xml.parsers.expat.ExpatError'>:${why}` : `<type 'exceptions.${exception}'>:${why}`)
}

/** Our faults in its numbers. A name that is not here is 500. */
const table: Readonly<Partial<Record<FaultName, Errno>>> = {
  'unknown volume': 'ENOENT', 'unknown host': 'EINVAL', 'unknown disk': 'ENOENT', 'bad parameter': 'EINVAL', 'wrong role': 'EINVAL', 'host not in use': 'EINVAL',
  'name taken': 'EEXIST', 'disk taken': 'EEXIST', 'volume busy': 'EBUSY', 'volume attached': 'EBUSY', 'volume in use': 'EBUSY', 'disk has data': 'EBUSY', 'disk in use': 'EBUSY',
  'no room': 'ENOSPC', 'too few servers': 'ENOSPC', 'timed out': 'ETIMEDOUT', 'host offline': 'EHOSTDOWN', 'not active': 'EHOSTDOWN',
}

export type Exceptions = Readonly<Partial<Record<FaultName, Errno>>>

/** `exceptions`: what a method's own rules call it. */
export function classicFault(fault: FaultName, why: string, exceptions: Exceptions = {}): WireFault {
  if (fault === 'parse error') return noCall('ExpatError', why)
  return refusal(exceptions[fault] ?? table[fault] ?? 'internal', why)
}

/** Does the work, and tells its faults in the original's numbers. */
export async function inClassicWords<T>(work: Promise<T>, exceptions: Exceptions = {}): Promise<T> {
  try {
    return await work
  } catch (thrown) {
    if (thrown instanceof Fault) throw classicFault(thrown.fault, thrown.message, exceptions)
    throw thrown
  }
}
