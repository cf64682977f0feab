/**
 * `node dist/test/support/release.js VERSION`, once for each release: writes down what its programs say to each other, and its database with
 * rows in every table, to test/fixtures/VERSION. The next release is held against it.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeBackup } from '../../manager/store/backup.js'
import { contract } from './contract.js'
import { startManager } from './manager.js'

const [version = ''] = process.argv.slice(2)
if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error('say which release: 0.1.0')
const dir = join('test/fixtures', version)
await mkdir(dir, { recursive: true })
await writeFile(join(dir, 'contract.json'), `${JSON.stringify(contract(), undefined, 1)}\n`)
const rig = await startManager({ servers: 4, volumes: 6 })
try {
  await rig.call('settingSet', { name: 'repair.grace', value: 600 })
  await rig.call('diskEvacuate', { disk: 'st4:/dev/sdb' })
  await rig.call('volumeDelete', { volume: 'v6' })
  await rig.call('tokenCreate', { name: 't1', role: 'hypervisor', host: 'hd1' })
  await rig.call('userCreate', { name: 'u1', role: 'operator', password: 'of a test, and of nobody' })
  await rig.settle()
  await writeBackup(rig.db, join(dir, 'database.backup'), Date.UTC(2026, 10, 21))
} finally {
  await rig.stop()
}
