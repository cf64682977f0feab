import { expect } from 'chai'
import { findHost } from '../../../../manager/store/hosts.js'
import { startManager } from '../../../support/manager.js'

describe('a volume that is detached', () => {
  it('was the last of its head: that gets another CHAP secret, so that no session lasts from one beginning to the next', async () => {
    const rig = await startManager({ servers: 2, volumes: 2 })
    try {
      const secret = async (): Promise<string> => (await findHost(rig.cluster.store.read, 'hd1'))?.chapPassword ?? ''
      for (const volume of ['v1', 'v2']) if ((await rig.call('volumeShow', { volume })).state === 'detached') await rig.call('volumeAttach', { volume, host: 'hd1' })
      const first = await secret()
      expect(first).to.match(/^[0-9a-f]{16}$/)
      await rig.call('volumeDetach', { volume: 'v1' })
      expect(await secret(), 'another volume is still there').to.equal(first)
      await rig.call('volumeDetach', { volume: 'v2' })
      expect(await secret()).to.match(/^[0-9a-f]{16}$/).and.not.equal(first)
    } finally {
      await rig.stop()
    }
  })
})
