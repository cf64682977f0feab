/** A lab's network: one name space with two bridges (data, control), a link per host and plane, and cuts between links. */
import { existsSync } from 'node:fs'
import { command } from './command.js'
import type { HostPlan } from './plan.js'

export function namespaceOf(lab: string): string {
  return `vsky-${lab}`
}

export async function makeNetwork(lab: string, hosts: readonly HostPlan[]): Promise<void> {
  const namespace = namespaceOf(lab)
  await command('ip', ['netns', 'add', namespace])
  const lines = ['link set lo up']
  for (const [bridge, address] of [['br0', '10.77.0.1/24'], ['br1', '10.78.0.1/24']] as const) {
    lines.push(`link add ${bridge} type bridge`, `addr add ${address} dev ${bridge}`, `link set ${bridge} up`)
  }
  for (const host of hosts) {
    for (const [link, bridge] of [[host.dataLink, 'br0'], [host.controlLink, 'br1']] as const) {
      lines.push(`tuntap add dev ${link} mode tap`, `link set ${link} master ${bridge}`, `link set ${link} up`)
    }
  }
  await command('ip', ['-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` })
  await nft(lab, 'table bridge vsky {\n chain cuts {\n type filter hook forward priority 0;\n }\n}')
}

export interface Cut {
  readonly from: string
  /** Absent: from all others. */
  readonly to?: string
  readonly plane: 'data' | 'control' | 'both'
  /** Only packets from `from`. */
  readonly oneWay: boolean
  /** Only packets of more bytes, their IP header included: with 90 connections are made, and nothing is said over them. */
  readonly above?: number
}

/**
 * Rules of the bridge family, at once and reversible. Not `ip link set down` on a link: the guest's network card stays dead after it
 * until the guest reboots. The lab's own way to its hosts ends at the bridge and is not forwarded, so it is never cut.
 */
export async function addCut(lab: string, [from, to]: readonly [HostPlan, HostPlan | undefined], { plane, oneWay, above }: Cut): Promise<void> {
  const verdict = above === undefined ? 'drop' : `ip length > ${above} drop`
  const planes = plane === 'both' ? ['data', 'control'] as const : [plane]
  const rules = planes.flatMap((each) => {
    const link = (host: HostPlan): string => (each === 'data' ? host.dataLink : host.controlLink)
    const there = to ? [`iifname "${link(from)}" oifname "${link(to)}" ${verdict}`] : [`iifname "${link(from)}" ${verdict}`]
    const back = to ? [`iifname "${link(to)}" oifname "${link(from)}" ${verdict}`] : [`oifname "${link(from)}" ${verdict}`]
    return oneWay ? there : [...there, ...back]
  })
  await nft(lab, rules.map((rule) => `add rule bridge vsky cuts ${rule}`).join('\n'))
}

export async function clearCuts(lab: string): Promise<void> {
  await nft(lab, 'flush chain bridge vsky cuts')
}

async function nft(lab: string, text: string): Promise<void> {
  await command('ip', ['netns', 'exec', namespaceOf(lab), 'nft', '-f', '-'], { input: `${text}\n` })
}

export async function namespacePids(namespace: string): Promise<readonly number[]> {
  if (!existsSync(`/run/netns/${namespace}`)) return []
  return (await command('ip', ['netns', 'pids', namespace])).split('\n').filter((line) => line !== '').map(Number)
}

/** Ends every process in the name space and removes it. All of them are the lab's: nothing else knows its name. */
export async function removeNamespace(namespace: string): Promise<void> {
  const killed = new Set<number>()
  for (let round = 0; round < 200; round += 1) {
    const pids = await namespacePids(namespace)
    if (pids.length === 0) break
    for (const pid of pids) {
      killed.add(pid)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // ended already
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  // The dead leave the namespace at once, and the process table when their parent has seen it: usually in some milliseconds.
  for (let round = 0; round < 80 && [...killed].some((pid) => existsSync(`/proc/${pid}`)); round += 1) await new Promise((resolve) => setTimeout(resolve, 25))
  if (existsSync(`/run/netns/${namespace}`)) await command('ip', ['netns', 'del', namespace])
}
