import { expect } from 'chai'
import fc from 'fast-check'
import { age, bar, clean, painter, plainLook, short, table, toneOf } from '../../../../tools/cli/print.js'
import type { Column } from '../../../../tools/cli/print.js'

type Row = readonly [string, string, string]
const columns: readonly Column<Row>[] = [{ title: 'NAME', of: ([name]) => name }, { title: 'SIZE', of: ([, size]) => size, right: true }, { title: 'PROBLEM', of: ([, , problem]) => problem, elastic: true }]

describe('a table for a terminal', () => {
  it('has its titles alone when there is nothing', () => {
    expect(table([], columns)).to.equal('NAME  SIZE  PROBLEM')
  })

  it('puts numbers to the right, and ends no line with blanks', () => {
    expect(table<Row>([['a', '1 GiB', ''], ['longer', '100 MiB', 'x']], columns)).to.equal('NAME       SIZE  PROBLEM\na         1 GiB\nlonger  100 MiB  x')
  })

  it('cuts the elastic column and never another, however narrow the terminal', () => {
    const anyCell = fc.stringMatching(/^[a-z]{0,30}$/)
    fc.assert(fc.property(fc.array(fc.tuple(anyCell, anyCell, anyCell), { maxLength: 6 }), fc.nat(120), (rows, width) => {
      const lines = table<Row>(rows, columns, width).split('\n')
      expect(lines).to.have.length(rows.length + 1)
      for (const [index, row] of rows.entries()) {
        const line = lines[index + 1] ?? ''
        expect(line.startsWith(row[0]) && line.slice(row[0].length).trimStart().startsWith(row[1])).to.equal(true)
        const cut = /(\S*)…$/.exec(line)?.[1]
        if (cut !== undefined) expect(row[2].startsWith(cut) && cut.length >= 7).to.equal(true)
        else expect(line.endsWith(row[2])).to.equal(true)
      }
      const fixed = (at: 0 | 1): number => Math.max(4, ...rows.map((row) => row[at].length))
      if (width > 0) for (const line of lines) expect(line.length).to.be.at.most(Math.max(width, fixed(0) + fixed(1) + 4 + 8))
    }))
  })

  it('without an elastic column is cut nowhere', () => {
    expect(table([{ a: 'x'.repeat(50) }], [{ title: 'A', of: (row) => row.a }], 20)).to.contain('x'.repeat(50))
  })

  it('keeps what fits, to the last character', () => {
    expect(table<Row>([['abcd', '1234', 'problem']], columns, 19)).to.equal('NAME  SIZE  PROBLEM\nabcd  1234  problem')
  })
})

describe('an age', () => {
  it('changes its unit where the smaller one gets hard to read', () => {
    expect([0, 999, 1000, 119_999, 120_000, 7_199_999, 7_200_000, 172_799_999, 172_800_000].map(age)).to.deep.equal(['0 ms', '999 ms', '1 s', '120 s', '2 min', '120 min', '2 h', '48 h', '2 d'])
  })
})

describe('a short id', () => {
  it('is its first eight digits', () => {
    expect([short('0123456789abcdef0123456789abcdef'), short('abc')]).to.deep.equal(['01234567', 'abc'])
  })
})

describe('a table on a narrow terminal', () => {
  const minor: readonly Column<Row>[] = [{ title: 'NAME', of: ([name]) => name }, { title: 'SIZE', of: ([, size]) => size, minor: true }, { title: 'PROBLEM', of: ([, , problem]) => problem, elastic: true }]

  it('leaves out minor columns before it is too wide, and only then', () => {
    const rows: readonly Row[] = [['a-name', '100 GiB', 'something long is wrong with it']]
    expect(table(rows, minor, 60)).to.contain('100 GiB')
    expect(table(rows, minor, 22)).to.equal('NAME    PROBLEM\na-name  something lon…')
    expect(table(rows, minor)).to.contain('100 GiB')
  })

  it('keeps its columns in line whatever is coloured, and colours nothing that is piped', () => {
    const toned: readonly Column<Row>[] = [{ title: 'NAME', of: ([name]) => name, tone: ([name]) => toneOf(name) }, { title: 'SIZE', of: ([, size]) => size }]
    const rows: readonly Row[] = [['offline', '1', ''], ['ok', '2', '']]
    const coloured = table(rows, toned, { width: 80, paint: painter(true) })
    expect(coloured).to.contain('\u001b[31moffline\u001b[39m')
    expect(coloured.replace(/\u001b\[\d+m/g, '')).to.equal(table(rows, toned, plainLook))
  })

  it('lets nothing through that moves the cursor or turns the text', () => {
    expect(clean('a\u001b[2Jb\nc\u202ed')).to.equal('a [2Jb c d')
  })
})

describe('a bar', () => {
  it('grows with the share, and never beyond its ends', () => {
    expect([-1, 0, 0.5, 0.999, 1, 7, Number.NaN].map((share) => bar(share, 4))).to.deep.equal(['[....]   0 %', '[....]   0 %', '[##..]  50 %', '[###.]  99 %', '[####] 100 %', '[####] 100 %', '[....]   0 %'])
  })
})
