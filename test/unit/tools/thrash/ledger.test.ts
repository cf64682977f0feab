import { expect } from 'chai'
import fc from 'fast-check'
import { BLOCK, CHUNK_BLOCKS, GARBAGE, chunksOf, roundOf, stampBlock } from '../../../../tools/thrash/block.js'
import { Ledger } from '../../../../tools/thrash/ledger.js'
import { formatLine, parseLine } from '../../../../tools/thrash/lines.js'
import type { WriterLine } from '../../../../tools/thrash/lines.js'
import { Tally } from '../../../../tools/thrash/tally.js'

const address = { run: 42, volume: 3, block: 77 }
const stamped = (round: number, at = address): Buffer => {
  const data = Buffer.alloc(BLOCK)
  stampBlock(data, at, round)
  return data
}

describe('a block of the thrasher', () => {
  it('tells its round, up to 2^48', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 48 - 1 }), (round) => { expect(roundOf(stamped(round), address)).to.equal(round) }))
  })

  it('is garbage when any byte of it is another', () => {
    fc.assert(fc.property(fc.nat(BLOCK - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const data = stamped(9)
      data[at] = (data[at] ?? 0) ^ flip
      expect(roundOf(data, address)).to.equal(GARBAGE)
    }))
  })

  it('is garbage when it is of another place, volume or run, or half of one round and half of another', () => {
    for (const other of [{ ...address, block: 78 }, { ...address, volume: 4 }, { ...address, run: 43 }]) expect(roundOf(stamped(9, other), address)).to.equal(GARBAGE)
    expect(roundOf(Buffer.concat([stamped(9).subarray(0, 512), stamped(10).subarray(512)]), address)).to.equal(GARBAGE)
  })

  it('that was never written is round 0', () => {
    expect(roundOf(Buffer.alloc(BLOCK), address)).to.equal(0)
    const data = Buffer.alloc(BLOCK)
    data[4000] = 1
    expect(roundOf(data, address)).to.equal(GARBAGE)
  })

  it('is looked at alone, whatever stands behind it', () => {
    expect(roundOf(Buffer.concat([Buffer.alloc(BLOCK), stamped(9)]), address)).to.equal(0)
    expect(roundOf(Buffer.concat([stamped(8), stamped(9)]), address)).to.equal(8)
  })
})

describe('the places that are written', () => {
  it('lie across every border of two segments and at both ends, inside the volume, and never overlap', () => {
    fc.assert(fc.property(fc.integer({ min: 40, max: 200 }), (mebibytes) => {
      const blocks = mebibytes * 256
      const chunks = chunksOf(blocks, 64 * 256)
      expect(chunks.length).to.be.within(90, 110)
      expect(new Set(chunks.map((start) => Math.floor(start / 1024))).size, 'blocks of 4 MiB').to.be.at.most(12 * 2 + 8)
      expect(chunks[0]).to.equal(0)
      expect(chunks.at(-1)).to.equal(blocks - CHUNK_BLOCKS)
      for (const [index, start] of chunks.entries()) if (index > 0) expect(start - (chunks[index - 1] ?? 0)).to.be.at.least(CHUNK_BLOCKS)
      for (let border = 64 * 256; border < blocks - CHUNK_BLOCKS; border += 64 * 256) {
        expect(chunks.some((start) => start < border && border < start + CHUNK_BLOCKS), `across ${border} of ${blocks}`).to.equal(true)
      }
    }))
  })
})

describe('the ledger', () => {
  const chunks = [0, 100]
  /** A disk that does as it should: what was written is there. */
  const disk = (): { ledger: Ledger; rounds: number[]; write: (round: number, block: number, count: number, acknowledged?: boolean) => void } => {
    const ledger = new Ledger(chunks, CHUNK_BLOCKS)
    const rounds = new Array<number>(chunks.length * CHUNK_BLOCKS).fill(0)
    return {
      ledger, rounds,
      write(round, block, count, acknowledged = true) {
        const at = block < 100 ? block : CHUNK_BLOCKS + block - 100
        rounds.fill(round, at, at + count)
        if (acknowledged) ledger.acknowledge(round, block, count)
      },
    }
  }

  it('finds nothing when everything acknowledged is there, also where a later write that nobody acknowledged is', () => {
    const { ledger, rounds, write } = disk()
    write(1, 0, 4)
    write(2, 102, 14)
    write(3, 2, 4, false)
    expect(ledger.judge(rounds)).to.deep.equal([])
    expect(ledger.writes).to.equal(2)
    expect(ledger.written).to.be.at.least(18)
  })

  it('catches one block of an acknowledged write that is older, zero or garbage, and says which', () => {
    for (const [found, least] of [[4, 7], [0, 7], [GARBAGE, 7]] as const) {
      const { ledger, rounds, write } = disk()
      write(4, 100, 4)
      write(7, 101, 2)
      rounds[CHUNK_BLOCKS + 2] = found
      expect(ledger.judge(rounds)).to.deep.equal([{ block: 102, least, found }])
    }
  })

  it('catches any acknowledged write that is lost', () => {
    const writes = fc.array(fc.tuple(fc.constantFrom(...chunks), fc.integer({ min: 0, max: 15 }), fc.integer({ min: 1, max: 16 })), { minLength: 1, maxLength: 30 })
    fc.assert(fc.property(writes, fc.nat(), (list, which) => {
      const lost = which % list.length
      const { ledger, rounds, write } = disk()
      for (const [index, [start, from, size]] of list.entries()) {
        const before = [...rounds]
        write(index + 1, start + from, Math.min(size, CHUNK_BLOCKS - from))
        if (index === lost) rounds.splice(0, rounds.length, ...before)
      }
      // What a later write covered can't be missed any more.
      const visible = Array.from({ length: CHUNK_BLOCKS }, (_, at) => at).some((at) => {
        const covers = list.flatMap(([start, from, size], index) => (start === list[lost]?.[0] && at >= from && at < Math.min(from + size, CHUNK_BLOCKS) ? [index] : []))
        return covers.at(-1) === lost
      })
      expect(ledger.judge(rounds).length > 0).to.equal(visible)
    }))
  })

  it('catches a write that nobody acknowledged and that was there once, when it is gone later', () => {
    const { ledger, rounds, write } = disk()
    write(5, 0, 1)
    write(6, 0, 1, false)
    expect(ledger.judge(rounds)).to.deep.equal([])
    rounds[0] = 5
    expect(ledger.judge(rounds)).to.deep.equal([{ block: 0, least: 6, found: 5 }])
  })

  it('catches garbage where nothing was ever acknowledged', () => {
    const { ledger, rounds } = disk()
    rounds[3] = GARBAGE
    expect(ledger.judge(rounds)).to.deep.equal([{ block: 3, least: 0, found: GARBAGE }])
  })

  it('takes no place that is not written, and no other number of blocks', () => {
    const { ledger } = disk()
    expect(() => { ledger.acknowledge(1, 15, 2) }).to.throw(RangeError)
    expect(() => ledger.judge([0])).to.throw(RangeError)
  })
})

describe('a line of the writer', () => {
  it('is read as it was told', () => {
    const lines: readonly WriterLine[] = [
      { is: 'ready', pid: 7, direct: true }, { is: 'ack', round: 2 ** 40, block: 5, count: 16, ms: 3 }, { is: 'waits', ms: 900 }, { is: 'error', text: 'EIO' },
      { is: 'older', block: 1, least: 2, found: -1 },
    ]
    for (const line of lines) expect(parseLine(formatLine(line))).to.deep.equal(line)
  })

  it('that the plug cut off is none', () => {
    for (const text of ['', 'a 12 3', '{"is":"wai', 'a 1 2 3 x']) expect(parseLine(text)).to.equal(undefined)
  })
})

describe('the tally', () => {
  it('puts a stall to the fault that was the last when it began, and counts faults', () => {
    const tally = new Tally()
    tally.stall(5, 50)
    tally.fault('head-power', 100)
    tally.fault('blip', 1000)
    tally.stall(1900, 2050)
    tally.stall(700, 2050)
    tally.stall(30, 2100)
    tally.calm(3000)
    tally.stall(9, 3100)
    expect(tally.faults).to.equal(2)
    expect(tally.lines().map((line) => line.replace(/ +/g, ' ').trim())).to.deep.equal(['blip 1x longest stall 700 ms', 'head-power 1x longest stall 1900 ms', 'no fault longest stall 9 ms'])
  })
})
