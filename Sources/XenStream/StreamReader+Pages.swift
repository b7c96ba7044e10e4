/// PAGE_DATA: a count, a list of entries, and the content of those entries that carry any.
extension StreamReader {
    mutating func beginPages(count: UInt32, reserved: UInt32) throws(StreamError) {
        guard count > 0 else { throw error(.badField, "a list of at least one entry") }
        guard reserved == 0 || !strict else {
            throw error(.reservedBits, "reserved bytes 0", at: pieceStart + 4)
        }
        let list = 8 + 8 * UInt64(count)
        let length = UInt64(current.length)
        let pageSize = UInt64(RecordFraming.pageSize)
        guard list <= length, (length - list) % pageSize == 0, (length - list) / pageSize <= UInt64(count)
        else {
            throw error(
                .badLength,
                "\(list) bytes for \(count) entries and whole pages after them, found \(length)"
            )
        }
        pagesExpected = (length - list) / pageSize
        held.clear()
        heldNext = 0
        piece = .pageDataEntries(remaining: Int(count))
    }

    mutating func stepEntries<H: StreamHandler>(
        _ announced: Int,
        _ input: inout Input,
        _ handler: inout H
    ) throws(StreamError) -> Bool {
        var remaining = announced
        while remaining > 0 {
            guard let bytes = take(8, &input) else {
                piece = .pageDataEntries(remaining: remaining)
                return false
            }
            let entry = try checkEntry(bytes.u64(0))
            remaining -= 1
            if entry.type.carriesData {
                guard pagesExpected > 0 else { throw pageCountError(tooMany: true) }
                pagesExpected -= 1
            } else if held.count == 0 {
                handler.page(entry, content: nil, contentOffset: input.offset)
                continue
            }
            guard held.words < options.budgets.heldPageEntries else {
                throw error(
                    .overBudget,
                    "at most \(options.budgets.heldPageEntries) entries from the first with data on"
                )
            }
            held.append(entry.encoded, limit: 8 * options.budgets.heldPageEntries)
        }
        guard pagesExpected == 0 else { throw pageCountError(tooMany: false) }
        piece = .pageDataPages
        return true
    }

    private func pageCountError(tooMany: Bool) -> StreamError {
        error(
            .badLength,
            "as many pages as the list has entries with data; the list has \(tooMany ? "more" : "fewer") "
                + "than \(current.length) bytes hold"
        )
    }

    @inline(__always)
    private mutating func checkEntry(_ encoded: UInt64) throws(StreamError) -> PageEntry {
        guard let entry = PageEntry(encoded: encoded) else {
            throw error(
                .badPageType,
                "a page type that exists, found 0x" + String(encoded >> 60, radix: 16),
                at: pieceStart
            )
        }
        if encoded & PageEntry.reservedBits != 0, strict {
            throw error(.reservedBits, "bits 59 to 52 of a page entry 0", at: pieceStart)
        }
        guard entry.pfn <= options.budgets.highestPFN else {
            throw error(
                .overBudget,
                "PFNs up to 0x\(String(options.budgets.highestPFN, radix: 16)), "
                    + "found 0x\(String(entry.pfn, radix: 16))",
                at: pieceStart
            )
        }
        if let maxPFN = rules.maxPFN {
            guard entry.pfn <= maxPFN else {
                throw error(
                    .pfnOutOfRange,
                    "PFNs up to 0x\(String(maxPFN, radix: 16)), found 0x\(String(entry.pfn, radix: 16))",
                    at: pieceStart
                )
            }
            types.record(entry)
        }
        if strict, let level = entry.type.tableLevel, level > Int(rules.pvInfo?.pagingLevels ?? 0) {
            throw error(.badPageType, "no \(entry.type.name) page in this guest", at: pieceStart)
        }
        return entry
    }

    mutating func stepPages<H: StreamHandler>(_ input: inout Input, _ handler: inout H) -> Bool {
        while heldNext < held.words {
            guard let entry = PageEntry(encoded: held.word(heldNext)) else { break }
            if entry.type.carriesData {
                guard let content = take(RecordFraming.pageSize, &input) else { return false }
                handler.page(
                    entry,
                    content: UnsafeRawBufferPointer(start: content, count: RecordFraming.pageSize),
                    contentOffset: pieceStart
                )
            } else {
                handler.page(entry, content: nil, contentOffset: input.offset)
            }
            heldNext += 1
        }
        held.clear()
        piece = .recordHeader
        handler.pageDataEnd(current)
        return true
    }
}
