import { expect } from 'chai'
import { must } from '../../../lib/assert.js'
import { Life } from '../../support/life.js'
import type { LifeOptions } from '../../support/life.js'
import { EXTENT_BYTES } from '../../support/records.js'

/** Writes everywhere, in a segment or in all of them. */
function written(life: Life): Life {
  for (let segment = 0; segment < life.options.segments; segment += 1) for (const block of [0, 1, 2]) life.head?.write(segment, block)
  life.check()
  return life
}
/** A volume on hd1 with something in it. */
const attached = (options: Partial<LifeOptions> = {}): Life => written(new Life({ segments: 1, disks: 1, storage: 3, ...options }).do('attach').rounds(1)).do('flush')
const extents = (life: Life): readonly string[] => life.keeper.live().map((extent) => extent.id)
/** Until a copy to this disk has ended, and the repair has not looked since. */
function copiedNotRetired(life: Life, disk: string): void {
  for (let round = 0; round < 40 && !life.legs(0).includes(`${disk} insync`); round += 1) {
    life.all('a second passes', 'manager makes spares', 'manager looks', 'manager takes a turn')
    if (life.legs(0).includes(`${disk} insync`)) return
    life.all('manager takes a turn', 'copy a block')
    if (!life.legs(0).includes('syncing')) life.do('manager repairs')
  }
  expect(life.legs(0)).to.include(`${disk} insync`)
}

describe('disasters', () => {
  it('each of two servers flaps while a volume is detached: nobody becomes stale, nothing is made anew', () => {
    const life = attached().all('detach', 'manager puts servers right')
    const before = extents(life)
    for (const server of [0, 1]) life.all(['server down', server]).rounds(20).all(['server up', server]).rounds(5)
    expect(life.legs(0)).to.equal('st1/0 insync,st2/0 insync')
    expect(extents(life)).to.deep.equal(before)
    expect(life.world.legs.get(must(before[0], 'two legs'))?.blocks).to.deep.equal(life.world.acked[0])
  })

  it('one server flaps after the other, each beyond the grace: the spare is copied to, never taken as it is', () => {
    const life = attached().all('detach', ['server down', 0], 'the grace passes').rounds(30).all(['server up', 0]).rounds(5)
    expect(life.legs(0)).to.equal('st2/0 insync,st3/0 insync')
    life.all(['server down', 1], 'the grace passes').rounds(30).all(['server up', 1])
    expect(life.heal()).to.be.lessThan(60)
    for (const extent of extents(life)) expect(life.world.legs.get(extent)?.blocks).to.deep.equal(life.world.acked[0])
  })

  it('one segment without room does not hold up the others', () => {
    const life = attached({ segments: 3, room: 3, storage: 3 }).all(['disk full', 2], ['server down', 0], 'the grace passes').rounds(10)
    expect([0, 1, 2].some((segment) => /allocated|syncing/.test(life.legs(segment))), 'no room at all').to.equal(false)
    life.keeper.full.clear()
    must(life.keeper.disks.get('st3/0'), 'a disk').bytes = BigInt(life.keeper.extents.filter((extent) => extent.disk === 'st3/0').length + 1) * EXTENT_BYTES
    life.rounds(30)
    const whole = [0, 1, 2].filter((segment) => (life.legs(segment).match(/st[23]\/0 insync/g) ?? []).length === 2)
    expect(whole.length).to.be.at.least(1)
    life.heal()
  })

  it('the target of a copy fails: writes go on without it, and it is copied to again from the beginning', () => {
    const life = attached({ storage: 2 }).all(['server down', 1])
    written(life).rounds(8).all(['server up', 1]).rounds(30)
    life.all(['server flaps', 1])
    written(life).rounds(3)
    expect(life.head?.waiting).to.deep.equal([])
    expect(life.legs(0)).to.match(/^st1\/0 insync/)
    life.heal()
  })

  it('a leg fails while it is the target, again and again: the only good leg is never given up, writes never wait for long', () => {
    const life = attached({ storage: 2 })
    for (let round = 0; round < 5; round += 1) {
      life.all(['server down', 1])
      written(life).rounds(8).all(['server up', 1], 'ten seconds pass', 'ten seconds pass').rounds(3)
      expect(life.head?.waiting).to.deep.equal([])
    }
    life.heal()
  })

  it('the source fails in the middle of a copy: the volume waits, the target is never taken for good, and it goes on when the source is back', () => {
    const life = attached({ storage: 2 }).all(['server down', 1])
    written(life).rounds(8).all(['server up', 1], 'ten seconds pass', 'ten seconds pass')
    for (let round = 0; round < 30 && !life.legs(0).includes('syncing'); round += 1) life.round()
    expect(life.legs(0)).to.equal('st1/0 insync,st2/0 syncing')
    life.all('manager takes a turn', 'copy a block', ['server down', 0])
    written(life).rounds(10)
    expect(life.legs(0)).to.match(/^st1\/0 insync,st2\/0 (syncing|stale)$/)
    expect(life.head?.waiting).to.have.length(3)
    life.heal()
    expect(life.head?.waiting).to.deep.equal([])
  })

  it('a server returns with an old leg after the volume moved on: its leg is released and nothing is read from it', () => {
    const life = attached().all(['server down', 0])
    written(life).all('manager looks', 'manager takes a turn', 'manager takes a turn', 'the grace passes').rounds(30)
    expect(life.legs(0)).to.equal('st2/0 insync,st3/0 insync')
    written(life).all(['server up', 0]).rounds(5)
    expect([...life.world.legs.values()].filter((leg) => leg.disk === 'st1/0')).to.deep.equal([])
    expect(life.unfinished()).to.equal('')
  })

  it('a server returns with an old leg before a spare is made: it is copied to and good again', () => {
    const life = attached().all(['server down', 0])
    written(life).rounds(10).all(['server up', 0])
    life.heal()
    expect(life.legs(0)).to.equal('st1/0 insync,st2/0 insync')
  })

  it('the head and a server go down together: what is left is served, and the server is copied to when it is back', () => {
    const life = attached({ storage: 2 }).all(['server down', 1], ['write', 0], ['head down', 0]).rounds(6).all(['head up', 0]).rounds(10)
    expect(life.legs(0)).to.equal('st1/0 insync,st2/0 stale')
    written(life)
    life.heal()
  })

  it('the head goes down while the disk of one leg has failed: the leg that can be read becomes the source', () => {
    const life = attached({ storage: 2 }).all(['disk fails', 0], 'manager puts servers right', ['head down', 0], ['head up', 0]).rounds(10)
    expect(life.legs(0)).to.match(/st2\/0 insync/)
  })

  it('two servers of one segment lose their power while the head goes on: their legs are made equal before both count', () => {
    const life = attached({ storage: 2 })
    life.cached = true
    life.all(['head not heard', 0], 'a second passes', ['write', 0], ['server loses its power, and what its disks had in their caches', 0], ['server up', 0], 'manager puts servers right')
    life.all(['write', 7], ['server loses its power, and what its disks had in their caches', 1], 'ten seconds pass', ['server up', 1], ['head heard', 0]).rounds(5)
    life.heal()
  })

  it('the head goes down, and then a server with what its disks had in their caches: the leg that has every acknowledged write becomes the source', () => {
    const life = attached({ storage: 2 })
    life.cached = true
    life.all(['write', 0], ['head down', 0], ['server loses its power, and what its disks had in their caches', 0], ['server up', 0], 'manager puts servers right', ['head up', 0]).rounds(20)
    expect([...life.world.legs.values()].map((leg) => leg.blocks[0])).to.deep.equal([life.world.acked[0]?.[0], life.world.acked[0]?.[0]])
    life.heal()
  })

  it('the only good server loses its power in the middle of a copy: the copy begins again', () => {
    const life = attached({ storage: 2 }).all(['server down', 1])
    life.cached = true
    life.all(['write', 0]).rounds(8).all(['server up', 1], 'ten seconds pass', 'ten seconds pass')
    const halfCopied = (): boolean => life.legs(0).includes('syncing') && [...life.world.legs.values()].every((leg) => leg.blocks[0] === 4)
    for (let round = 0; round < 60 && !halfCopied(); round += 1) life.round()
    expect(halfCopied()).to.equal(true)
    life.all(['server loses its power, and what its disks had in their caches', 0], ['server up', 0]).heal()
  })

  it('a disk works again after a spare was made on its own server: no server gets two good legs', () => {
    const life = attached({ disks: 2 }).all(['disk fails', 0]).rounds(2).all(['server flaps', 1], ['write', 0]).rounds(4)
    life.heal()
    expect(life.legs(0)).to.match(/st2\/\d insync|st3\/\d insync/)
  })

  it('a disk is evacuated to another disk of its server: the head is never given two good legs of one server', () => {
    attached({ disks: 2, storage: 2 }).all(['disk evacuated', 0]).rounds(30).heal()
  })

  it('the head goes down just when a leg was copied to another disk of its server: the volume comes up again', () => {
    const life = attached({ disks: 2, storage: 3, redundancy: 3 }).all(['disk evacuated', 4])
    copiedNotRetired(life, 'st3/1')
    life.all(['head down', 0], ['head up', 0]).heal()
  })

  it('a disk is used again just when its leg was copied elsewhere: the leg too many goes', () => {
    const life = attached().all(['disk evacuated', 0])
    copiedNotRetired(life, 'st3/0')
    life.all(['disk used again', 0])
    expect(life.legs(0), 'given up in the commit that made the other one good').to.equal('st1/0 stale,st2/0 insync,st3/0 insync')
    life.heal()
  })

  it('a head that was shut out copies legs of the volume while its old guest\'s writes wait: they never reach a leg', () => {
    const life = attached().all(['head not heard', 0], ['server not heard', 0], 'ten seconds pass', ['move', 1]).rounds(4).all(['a guest that was left behind writes', 0])
    written(life).all(['server heard', 0], ['head heard', 0]).rounds(30).do('detach').all(['disk evacuated', 0]).rounds(20)
    expect([...life.world.legs.values()].map((leg) => leg.blocks[0])).to.not.include(4)
  })

  it('a head that was shut out gets the volume back while its old guest\'s writes wait: they never reach a leg', () => {
    const life = attached({ storage: 2 }).all(['head not heard', 0], ['move', 1]).rounds(4).all(['a guest that was left behind writes', 0])
    expect(life.keeper.volume.head).to.equal('hd2')
    written(life).all(['head heard', 0]).rounds(2).do('detach').all(['attach', 0]).rounds(4)
    expect(life.world.legs.get(must(extents(life)[0], 'a leg'))?.blocks).to.deep.equal([5, 6, 7])
  })
})

describe('disasters with changes remembered', () => {
  const POWER = 'server loses its power, and what its disks had in their caches'
  const copies = (life: Life): readonly string[] => life.head?.record?.segments.map(({ copy, since }) => `${copy} ${since ?? 0}`) ?? []
  const era = (life: Life): Life => life.all('ten seconds pass', ['write', 14], 'heads make their checkpoints', 'manager looks')
  const eras = (life: Life, count: number): Life => count === 0 ? life : eras(era(life), count - 1)

  it('the head goes down with a write under way: the other leg gets what was written since the settled era, and no more', () => {
    const life = eras(attached({ storage: 2 }), 4)
    life.all(['write that takes its time', 1], ['head down', 0], ['head up', 0], 'manager takes a turn', 'manager takes a turn')
    expect(copies(life)).to.deep.equal(['changed 4'])
    const block = (leg: string): number | undefined => life.world.legs.get(leg)?.blocks[0]
    expect(new Set(extents(life).map(block)).size, 'they differ').to.equal(2)
    life.heal()
    expect(new Set(extents(life).map(block)).size).to.equal(1)
  })

  it('a server is away for some eras: its leg gets what was written since it was lost', () => {
    const life = eras(eras(attached({ storage: 2 }), 3).all(['server down', 1], ['write', 7], 'manager looks', 'manager takes a turn'), 3)
    life.all(['server up', 1], 'manager makes spares', 'manager puts servers right', 'manager looks', 'manager takes a turn', 'manager takes a turn', 'manager looks', 'manager repairs', 'manager takes a turn', 'manager takes a turn')
    expect(copies(life)).to.deep.equal(['changed 3'])
    life.heal()
  })

  it('a leg is lost of which nothing is remembered: no era ends for it while its write is held', () => {
    const life = written(new Life({ segments: 2, disks: 1, storage: 3 }).do('attach').rounds(1))
    const only = must([0, 1, 2].find((server) => !life.legs(0).includes(life.storage(server)) && life.legs(1).includes(life.storage(server))), 'a server of segment 1 alone')
    era(life).all('ten seconds pass', ['server down', only], ['write', 1], 'heads make their checkpoints', 'ten seconds pass', ['write', 14], 'heads make their checkpoints', 'manager looks', 'manager takes a turn', 'manager takes a turn')
    expect(life.head?.waiting).to.deep.equal([])
    life.all(['server up', only]).heal()
  })

  it('an era is settled between a loss of power and the word of it: all is copied to the leg that lost something', () => {
    const life = attached({ storage: 2 })
    life.cached = true
    eras(life, 2).all('ten seconds pass', ['write that takes its time', 0], 'heads make their checkpoints', 'slow writes end', [POWER, 1], ['server up', 1], 'manager puts servers right')
    life.all('ten seconds pass', 'heads make their checkpoints', 'manager looks').rounds(10).heal()
  })

  it('what waits to be remembered is to be given up just after all was begun anew: nothing is, for the manager relies on it', () => {
    const life = new Life({ segments: 1, disks: 1, storage: 2 }).do('attach').rounds(1)
    life.all('head gives up what waits to be remembered', ['write that takes its time', 1], ['head down', 0], ['head up', 0]).rounds(20).heal()
  })
})
