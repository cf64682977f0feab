/** One turn of a disk that is being made ours or given back. */
import { Fault } from '../../lib/faults.js'
import { agentMethods } from '../../lib/wire/agent.js'
import { findDisk, findHost, removeDisk, setDiskState, updateDisk } from '../store/hosts.js'
import { finishRequest } from '../store/requests.js'
import type { Cluster } from './cluster.js'
import type { Next } from './work.js'

export async function diskTurn(cluster: Cluster, id: string): Promise<Next> {
  const disk = await findDisk(cluster.store.read, id)
  const host = disk && await findHost(cluster.store.read, disk.host)
  if (!disk || !host) return 'idle'
  const label = `${disk.host}:${disk.device}`
  try {
    if (disk.state === 'preparing') {
      const seen = await cluster.agents.call(host, agentMethods.prepareDisk, { disk: id, device: disk.device, force: disk.force }, { timeoutMs: 60_000 })
      await cluster.store.change(async (tx) => {
        await updateDisk(tx, id, { device: disk.device, state: seen.state, problem: seen.problem, bytes: seen.bytes, cleanBytes: seen.cleanBytes })
        await finishRequest(tx, id)
        await tx.event({ kind: 'disk added', about: 'disk', name: label, text: `${seen.bytes} bytes` })
      })
      cluster.work.kick('host', host.name)
    } else if (disk.state === 'removing') {
      await cluster.agents.call(host, agentMethods.releaseDisk, { disk: id }, { timeoutMs: 60_000 })
      await cluster.store.change(async (tx) => {
        await removeDisk(tx, id)
        await finishRequest(tx, id)
        await tx.event({ kind: 'disk removed', about: 'disk', name: label, text: 'given back, label erased' })
      })
    }
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.fault === 'stale epoch') throw thrown
    await cluster.store.change(async (tx) => {
      if (disk.state === 'preparing') await removeDisk(tx, id)
      else await setDiskState(tx, id, 'ready', '')
      const doing = disk.state === 'preparing' ? 'add' : 'remove'
      await finishRequest(tx, id, new Fault(thrown.fault, `Cannot ${doing} disk ${label}: ${thrown.message}`))
      await tx.event({ kind: `disk not ${doing === 'add' ? 'added' : 'removed'}`, about: 'disk', name: label, text: thrown.message })
    })
  }
  return 'idle'
}
