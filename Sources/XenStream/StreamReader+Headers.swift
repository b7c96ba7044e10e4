/// Everything before the first record: the headers of the three layers.
extension StreamReader {
    static let knownStarts =
        "an xl save header (\"Xen saved domain\"), a libxl header (\"LibxlFmt\") or a libxc image header"

    /// The first eight bytes of the three starts, as big endian numbers.
    private static let xlStart: UInt64 = 0x5865_6E20_7361_7665

    mutating func stepHeaders<H: StreamHandler>(
        _ input: inout Input,
        _ handler: inout H
    ) throws(StreamError) -> Bool {
        switch piece {
        case .ident: return try detect(&input)
        case .xlHeader:
            guard let bytes = take(XLSaveHeader.size, &input) else { return false }
            try readXLHeader(bytes, &handler)
        case .xlConfigLength:
            guard let bytes = take(4, &input) else { return false }
            try readConfigLength(bytes.u32(0))
        case .xlConfig(let length, let skip):
            guard let bytes = take(length, &input) else { return false }
            try readConfig(UnsafeRawBufferPointer(start: bytes, count: length), &handler)
            skipOptional(skip)
        case .xlSkip(let remaining):
            let portion = min(remaining, input.available)
            input.position += portion
            skipOptional(remaining - portion)
            return portion == remaining
        case .libxlHeader:
            guard let bytes = take(LibxlHeader.size, &input) else { return false }
            try readLibxlHeader(bytes, &handler)
        case .imageHeader:
            guard let bytes = take(ImageHeader.size, &input) else { return false }
            try readImageHeader(bytes, &handler)
        case .domainHeader:
            guard let bytes = take(DomainHeader.size, &input) else { return false }
            try readDomainHeader(bytes, &handler)
        default: return false
        }
        return true
    }

    // MARK: What is it?

    /// Looks at eight bytes without using them up.
    private mutating func detect(_ input: inout Input) throws(StreamError) -> Bool {
        let portion = min(8 - gathered.count, input.available)
        gathered.append(input.base + input.position, portion, limit: 8)
        input.position += portion
        guard gathered.count == 8 else { return false }
        let bytes = UnsafeRawPointer(gathered.base)
        pieceStart = 0
        switch UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)) {
        case StreamReader.xlStart: piece = .xlHeader
        case LibxlHeader.ident:
            piece = .libxlHeader
            layer = .libxl
        case ImageHeader.marker:
            piece = .imageHeader
            layer = .libxc
        case 0x4C69_6E75_7847_7565:
            throw error(.legacy, "a version 2 stream, not an image of the xend toolstack", at: 0)
        default:
            guard StreamReader.looksLegacy(bytes) else {
                throw error(.unrecognised, StreamReader.knownStarts, at: 0)
            }
            throw error(.legacy, "a version 2 stream, not a legacy one of Xen 4.5 or older", at: 0)
        }
        return true
    }

    /// A legacy stream has no magic: it starts with the guest's number of pages, in the sender's word size, and then
    /// the mark of extended info, a page count or a small negative chunk id.
    private static func looksLegacy(_ bytes: UnsafeRawPointer) -> Bool {
        let low = bytes.u32(0)
        let high = bytes.u32(4)
        let plausiblePages = (16...0x1000_0000).contains(low)
        if high == 0 { return plausiblePages }
        let chunk = Int32(bitPattern: high)
        return plausiblePages && (chunk == -1 || (-21 ... -1).contains(chunk) || (1...1024).contains(chunk))
    }

    /// Whether fewer than eight bytes could still become a stream.
    static func couldBeStream(_ bytes: borrowing GrowingBuffer) -> Bool {
        for start in [xlStart, LibxlHeader.ident, ImageHeader.marker] {
            var matches = true
            for index in 0..<min(8, bytes.count)
            where UnsafeRawPointer(bytes.base).u8(index)
                != UInt8(truncatingIfNeeded: start >> UInt64(56 - 8 * index))
            {
                matches = false
            }
            if matches { return true }
        }
        return false
    }

    // MARK: xl

    private mutating func readXLHeader<H: StreamHandler>(
        _ bytes: UnsafeRawPointer,
        _ handler: inout H
    ) throws(StreamError) {
        for index in 0..<32 where bytes.u8(index) != XLSaveHeader.magic.utf8Start[index] {
            throw error(
                .badMagic,
                "the magic of an xl save header; a transfer in text mode damages it like this",
                at: UInt64(index)
            )
        }
        guard bytes.u32(32) == XLSaveHeader.byteOrderMark else {
            throw error(.unsupportedFeature, "an image written by a little endian machine", at: 32)
        }
        let header = XLSaveHeader(
            mandatoryFlags: bytes.u32(36),
            optionalFlags: bytes.u32(40),
            optionalDataLength: bytes.u32(44)
        )
        let known = XLSaveHeader.jsonFlag | XLSaveHeader.streamV2Flag
        guard header.mandatoryFlags & ~known == 0 else {
            throw error(
                .unsupportedFeature,
                "no mandatory flags but 0x3, found 0x" + String(header.mandatoryFlags, radix: 16),
                at: 36
            )
        }
        guard header.mandatoryFlags & XLSaveHeader.streamV2Flag != 0 else {
            throw error(.legacy, "an image with a version 2 stream, not a legacy one", at: 36)
        }
        if strict {
            guard header.mandatoryFlags & XLSaveHeader.jsonFlag != 0 else {
                throw error(.unsupportedFeature, "a JSON configuration", at: 36)
            }
            guard header.optionalFlags == 0 else {
                throw error(.reservedBits, "optional flags 0", at: 40)
            }
            guard header.optionalDataLength > 4 else {
                throw error(.badLength, "optional data with a configuration", at: 44)
            }
        }
        guard header.optionalDataLength == 0 || header.optionalDataLength >= 4 else {
            throw error(.badLength, "optional data of 4 bytes or more, or none", at: 44)
        }
        guard UInt64(header.optionalDataLength) <= UInt64(options.budgets.configLength) + 4 else {
            throw error(
                .overBudget,
                "optional data of at most \(UInt64(options.budgets.configLength) + 4) bytes, "
                    + "announced are \(header.optionalDataLength)",
                at: 44
            )
        }
        xlHeader = header
        handler.xlHeader(header)
        if header.optionalDataLength == 0 { skipOptional(0) } else { piece = .xlConfigLength }
    }

    private mutating func readConfigLength(_ length: UInt32) throws(StreamError) {
        let total = Int(xlHeader?.optionalDataLength ?? 4) - 4
        guard Int(length) <= total else {
            throw error(
                .badLength,
                "a configuration within the \(total) bytes of optional data, announced are \(length)"
            )
        }
        guard length > 0 || !strict else { throw error(.badLength, "a configuration, found none") }
        guard length > 0 else {
            skipOptional(total)
            return
        }
        piece = .xlConfig(length: Int(length), skip: total - Int(length))
    }

    private mutating func readConfig<H: StreamHandler>(
        _ bytes: UnsafeRawBufferPointer,
        _ handler: inout H
    ) throws(StreamError) {
        var json = bytes
        if bytes[bytes.count - 1] == 0 {
            json = UnsafeRawBufferPointer(rebasing: bytes.dropLast())
        } else if strict {
            throw error(.badField, "a configuration that ends with NUL")
        }
        if strict {
            for index in json.indices where json[index] == 0 {
                throw error(.badField, "no NUL inside the configuration", at: pieceStart + UInt64(index))
            }
        }
        handler.config(json)
    }

    private mutating func skipOptional(_ remaining: Int) {
        if remaining > 0 {
            piece = .xlSkip(remaining: remaining)
        } else {
            piece = .libxlHeader
            layer = .libxl
        }
    }

    // MARK: libxl

    private mutating func readLibxlHeader<H: StreamHandler>(
        _ bytes: UnsafeRawPointer,
        _ handler: inout H
    ) throws(StreamError) {
        guard UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)) == LibxlHeader.ident else {
            throw error(.badMagic, "a libxl header, \"LibxlFmt\"")
        }
        let header = LibxlHeader(
            version: bytes.u32(8).byteSwapped,
            options: bytes.u32(12).byteSwapped
        )
        guard header.version == LibxlHeader.currentVersion else {
            throw error(
                .unsupportedVersion,
                "libxl stream version 2, found \(header.version)",
                at: pieceStart + 8
            )
        }
        guard header.options & LibxlHeader.bigEndianOption == 0 else {
            throw error(.unsupportedFeature, "little endian records", at: pieceStart + 12)
        }
        let known = LibxlHeader.bigEndianOption | LibxlHeader.convertedOption
        guard header.options & ~known == 0 || !strict else {
            throw error(.reservedBits, "reserved libxl options 0", at: pieceStart + 12)
        }
        hasLibxl = true
        piece = .recordHeader
        handler.libxlHeader(header)
    }

    // MARK: libxc

    private mutating func readImageHeader<H: StreamHandler>(
        _ bytes: UnsafeRawPointer,
        _ handler: inout H
    ) throws(StreamError) {
        guard bytes.u64(0) == ImageHeader.marker, bytes.u32(8).byteSwapped == ImageHeader.ident else {
            throw error(.badMagic, "a libxc image header: eight bytes 0xff and \"XENF\"")
        }
        let header = ImageHeader(version: bytes.u32(12).byteSwapped, options: bytes.u16(16).byteSwapped)
        guard header.version == 2 || header.version == 3 else {
            throw error(
                .unsupportedVersion,
                "libxc stream version 2 or 3, found \(header.version)",
                at: pieceStart + 12
            )
        }
        guard header.options & ImageHeader.bigEndianOption == 0 else {
            throw error(.unsupportedFeature, "a little endian image", at: pieceStart + 16)
        }
        if strict {
            guard header.options == 0 else {
                throw error(.reservedBits, "reserved image options 0", at: pieceStart + 16)
            }
            guard bytes.isZero(18, 6) else {
                throw error(.reservedBits, "reserved bytes of the image header 0", at: pieceStart + 18)
            }
        }
        imageVersion = header.version
        piece = .domainHeader
        handler.imageHeader(header)
    }

    private mutating func readDomainHeader<H: StreamHandler>(
        _ bytes: UnsafeRawPointer,
        _ handler: inout H
    ) throws(StreamError) {
        guard let kind = GuestKind(rawValue: bytes.u32(0)) else {
            throw error(.badField, "a guest of type 1 (PV) or 2 (HVM), found \(bytes.u32(0))")
        }
        guard bytes.u16(4) == DomainHeader.pageShift else {
            throw error(
                .badField,
                "pages of 4096 bytes (shift 12), found shift \(bytes.u16(4))",
                at: pieceStart + 4
            )
        }
        guard bytes.u16(6) == 0 || !strict else {
            throw error(.reservedBits, "reserved bytes of the domain header 0", at: pieceStart + 6)
        }
        let header = DomainHeader(kind: kind, xenMajor: bytes.u32(8), xenMinor: bytes.u32(12))
        domain = header
        piece = .recordHeader
        handler.domainHeader(header)
    }
}
