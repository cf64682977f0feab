/** The table `[classic]` of the manager's configuration: where the original API is served, and with what step of capacity. Pure. */
export interface ClassicConfig {
  readonly host: string
  readonly port: number
  /** Capacities are rounded up to a multiple of this, GB. */
  readonly stepGb: number
}

const keys = ['listen', 'extentsize']

/** Undefined when there is no such table: the door stays closed. What is wrong is added to `problems`. A port alone is one of this host's own loopback. */
export function parseClassic(table: unknown, problems: string[]): ClassicConfig | undefined {
  if (table === undefined) return undefined
  if (typeof table !== 'object' || table === null || Array.isArray(table)) {
    problems.push(`classic: expected a table [classic], found ${JSON.stringify(table)}`)
    return undefined
  }
  const members = new Map<string, unknown>(Object.entries(table))
  for (const key of members.keys()) if (!keys.includes(key)) problems.push(`classic.${key} is not a setting; there are ${keys.map((each) => `classic.${each}`).join(', ')}`)
  const listen = members.get('listen')
  const [, host = '127.0.0.1', digits = '0'] = /^(?:(\S+):)?(\d{1,5})$/.exec(typeof listen === 'string' ? listen : '') ?? []
  const port = Number(digits)
  if (port < 1 || port > 65535) problems.push(`classic.listen: expected "port" (on loopback) or "address:port", the port from 1 to 65535, found ${listen === undefined ? 'nothing' : JSON.stringify(listen)}`)
  const stepGb = members.get('extentsize') ?? 10
  if (typeof stepGb !== 'number' || !Number.isInteger(stepGb) || stepGb < 1 || stepGb > 1024) {
    problems.push(`classic.extentsize: expected a whole number of GB from 1 to 1024, found ${JSON.stringify(stepGb)}`)
    return undefined
  }
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port, stepGb }
}
