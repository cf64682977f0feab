/** What the product counts on of the kernel's iSCSI target and of open-iscsi: who is let in, what becomes of commands, how a loss shows. */
import { expect } from 'chai'
import { createSessions } from '../../agent/iscsi/sessions.js'
import type { Sessions } from '../../agent/iscsi/sessions.js'
import { isGivenUp, sessions as sessionsThere } from '../../agent/iscsi/sysfs.js'
import { createLio } from '../../agent/lio/configfs.js'
import type { Lio } from '../../agent/lio/configfs.js'
import { targetSteps } from '../../agent/lio/target.js'
import type { WantedExport } from '../../agent/lio/target.js'
import { formatSegment } from '../../agent/dm/table.js'
import { sectors } from '../../lib/units.js'
import type { Claim, Rig } from './bench.js'
import { SECTORS } from './bench.js'

const BYTES = SECTORS * 512n
const EXTENT = 'c0ffee0123456789abcdef0123456789'
const LUN = 5
const chap = { user: 'contract', password: 'a1b2c3d4e5f60718' }

interface Site {
  readonly lio: Lio
  readonly sessions: Sessions
  readonly target: string
  readonly initiator: string
  /** Leg a. */
  readonly device: string
  /** Makes the exports be as told, with the secret of a head that is let in. */
  readonly export: (wanted: readonly WantedExport[], password?: string) => Promise<void>
  readonly login: (password?: string, bytes?: bigint) => Promise<string>
}

const mine = (): boolean => true

async function siteOf(rig: Rig): Promise<Site> {
  const { run, clock, log, host, address } = rig.bench
  const [target, initiator] = [`iqn.2026-11.io.vsky:storage.${host}`, `iqn.2026-11.io.vsky:host.${host}`]
  const device = await rig.leg('a', 0)
  const lio = createLio({ run, clock, target, addresses: [address] })
  const sessions = createSessions({ run, clock, log })
  const apply = async (wanted: readonly WantedExport[], password = chap.password): Promise<void> => {
    await lio.apply(targetSteps(await lio.read(), wanted, mine), (who) => ({ ...chap, initiator: who, password }))
  }
  await lio.open()
  rig.after(() => apply([]))
  rig.after(() => sessions.prune(() => false))
  return {
    lio, sessions, target, initiator, device, export: apply,
    login: (password = chap.password, bytes = BYTES) => sessions.device({ target, addresses: [address], lun: LUN, extent: EXTENT, bytes }, { ...chap, initiator, password }),
  }
}

function exported({ device, initiator }: Site, initiators: readonly string[] = [initiator]): readonly WantedExport[] {
  return [{ extent: EXTENT, lun: LUN, device, initiators }]
}

async function stateOf({ target }: Site): Promise<string> {
  return (await sessionsThere()).find((each) => each.target === target)?.state ?? 'none'
}

const failureOf = (work: Promise<unknown>): Promise<string> => work.then(() => 'none', (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown)))

export const iscsiClaims: readonly Claim[] = [
  {
    name: 'what is exported is read back as it was wished; a head that is let in finds its LUN by serial number and size, and writes to the very device',
    async check(rig) {
      const site = await siteOf(rig)
      await site.export(exported(site))
      expect(await site.lio.read()).to.deep.equal({ backstores: new Set([EXTENT]), luns: new Map([[LUN, EXTENT]]), acls: new Map([[site.initiator, new Set([LUN])]]) })
      const disk = await site.login()
      await rig.must(disk, 'write', 3, 12)
      expect([await rig.read(site.device, 3), await rig.read(disk, 3)]).to.deep.equal([12, 12])
      expect([await site.lio.hasSession(site.initiator), await stateOf(site)]).to.deep.equal([true, 'LOGGED_IN'])
    },
  },
  {
    name: 'a wrong secret is not let in, and no session stays',
    async check(rig) {
      const site = await siteOf(rig)
      await site.export(exported(site))
      expect(await failureOf(site.login('0011223344556677'))).to.match(/^Cannot log in to /)
      expect([await site.lio.hasSession(site.initiator), await stateOf(site)]).to.deep.equal([false, 'none'])
    },
  },
  {
    name: 'an initiator without an ACL is not let in',
    async check(rig) {
      const site = await siteOf(rig)
      await site.export(exported(site, ['iqn.2026-11.io.vsky:host.somebody-else']))
      expect(await failureOf(site.login())).to.match(/^Cannot log in to /)
      expect(await stateOf(site)).to.equal('none')
    },
  },
  {
    name: 'the secret of an ACL can be read and changed: what is open stays open, and from then on the new one is asked for',
    async check(rig) {
      const site = await siteOf(rig)
      const fresh = { user: chap.user, initiator: site.initiator, password: '8192a3b4c5d6e7f0' }
      await site.export(exported(site))
      const disk = await site.login()
      expect([...await site.lio.outdated(() => ({ ...fresh, password: chap.password })), ...await site.lio.outdated(() => fresh)]).to.deep.equal([site.initiator])
      await site.lio.apply(targetSteps(await site.lio.read(), exported(site), mine, new Set([site.initiator])), () => fresh)
      expect([...await site.lio.outdated(() => fresh)]).to.deep.equal([])
      await rig.must(disk, 'write', 3, 12)
      const sid = (await sessionsThere()).find((each) => each.target === site.target)?.sid
      const again = await site.login(fresh.password) // nothing stands on the disk: a session of its own for the new secret
      expect([await rig.read(again, 3), (await sessionsThere()).find((each) => each.target === site.target)?.sid === sid]).to.deep.equal([12, false])
      await site.sessions.prune(() => false)
      expect(await failureOf(site.login())).to.match(/^Cannot log in to /)
    },
  },
  {
    name: 'a LUN of another size than was told is refused, and its disk does not stay',
    async check(rig) {
      const site = await siteOf(rig)
      await site.export(exported(site))
      expect(await failureOf(site.login(chap.password, BYTES + 512n))).to.match(/it has 16777216 bytes, expected 16777728/)
    },
  },
  {
    name: 'when an initiator\'s ACL goes its session ends at once, and what it sends is an error; when it is let in again it is back by itself',
    async check(rig) {
      const site = await siteOf(rig)
      await site.export(exported(site))
      const disk = await site.login()
      await rig.must(disk, 'write', 3, 12)
      await site.export([])
      expect(await site.lio.hasSession(site.initiator)).to.equal(false)
      expect(await rig.soon(rig.io(disk, 'write', 3, 13), 15_000)).to.equal('error')
      expect(await rig.read(site.device, 3)).to.equal(12)
      await site.export(exported(site))
      await rig.until('the session is back', () => stateOf(site), (state) => state === 'LOGGED_IN', 30_000)
    },
  },
  {
    name: 'commands that are under way hold up the end of an export: it is not begun while they last',
    async check(rig) {
      const site = await siteOf(rig)
      const over = await rig.make('over', formatSegment({ length: sectors(SECTORS), legs: [site.device], copy: 'none' }))
      await site.export(exported({ ...site, device: over }))
      const disk = await site.login()
      await rig.dm.suspend(rig.name('a'))
      const write = rig.io(disk, 'write', 3, 12)
      expect(await rig.soon(write, 700)).to.equal('waits')
      expect(await failureOf(site.export([]))).to.match(/requests on extent .* do not end/)
      await rig.dm.resume(rig.name('a'))
      await write
      await site.export([])
      expect((await site.lio.read()).backstores.size).to.equal(0)
    },
  },
  {
    name: 'a backstore holds its device, and none is made of a device that is held',
    async check(rig) {
      const site = await siteOf(rig)
      const b = await rig.leg('b', 1)
      await site.export(exported(site))
      expect(await rig.dm.remove([rig.name('a')])).to.deep.equal({ kind: 'stopped', by: 'busy' })
      await site.export([])
      await rig.make('m', formatSegment({ length: sectors(SECTORS), legs: [site.device, b], copy: 'none' }))
      expect(await failureOf(site.export(exported(site)))).to.match(/^Cannot change the exports/)
      expect((await site.lio.read()).backstores.size).to.equal(0)
    },
  },
  {
    name: 'nothing passes any more: a request ends with an error within seconds and the disk is given up; when the way is open again it works by itself',
    async check(rig) {
      const site = await siteOf(rig)
      await site.export(exported(site))
      const disk = await site.login()
      await rig.must(disk, 'write', 3, 12)
      rig.after(() => rig.bench.cut(false))
      await rig.bench.cut(true)
      expect(await rig.soon(rig.io(disk, 'read', 4), 15_000)).to.equal('error')
      expect([await isGivenUp(disk), await stateOf(site)]).to.deep.equal([true, 'FREE'])
      await rig.bench.cut(false)
      await rig.until('the session is back', () => stateOf(site), (state) => state === 'LOGGED_IN', 30_000)
      expect([await isGivenUp(disk), await rig.read(disk, 3)]).to.deep.equal([false, 12])
    },
  },
  {
    name: 'a short break is not noticed by who writes, but for the wait',
    async check(rig) {
      const site = await siteOf(rig)
      await site.export(exported(site))
      const disk = await site.login()
      rig.after(() => rig.bench.cut(false))
      await rig.bench.cut(true)
      const write = rig.io(disk, 'write', 3, 12)
      expect(await rig.soon(write, 600)).to.equal('waits')
      await rig.bench.cut(false)
      expect([(await write).outcome, await rig.read(site.device, 3), await stateOf(site)]).to.deep.equal(['ok', 12, 'LOGGED_IN'])
    },
  },
]
