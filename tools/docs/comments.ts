/** Doc comments of members in a source: what a field means is said once, beside the field. Pure. */

/** Text of the comment right above a member, by `CONST.member`; blanks and line ends become one blank. */
export function memberComments(source: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  let owner = ''
  let comment: string[] | undefined
  let open = false
  for (const line of source.split('\n')) {
    const declared = /^(?:export )?const (\w+)\b/.exec(line)
    const member = /^ {2}(\w+): /.exec(line)
    const begin = /^ {2}\/\*\* ?(.*?)( ?\*\/)?$/.exec(line)
    if (declared) owner = declared[1] ?? ''
    if (begin) {
      comment = [begin[1] ?? '']
      open = begin[2] === undefined
    } else if (open) {
      comment?.push(line.replace(/^ *\*(?!\/) ?/, '').replace(/ *\*\/$/, ''))
      open = !line.trimEnd().endsWith('*/')
    } else {
      if (member && comment) found.set(`${owner}.${member[1] ?? ''}`, comment.join(' ').replace(/\s+/g, ' ').trim())
      comment = undefined
    }
  }
  return found
}
