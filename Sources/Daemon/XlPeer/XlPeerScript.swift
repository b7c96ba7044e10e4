/// What runs on the other host beside its xl, given to a shell there: needs sh, dd, mkfifo, mktemp and setsid, nothing of
/// remusd.
///
/// xl starts the guest at any end of its input. So this shell holds xl's input open, whatever becomes of the connection,
/// and ends it on two words only: a person's, or ours. It kills xl before it closes anything.
///
/// On its standard input it takes, again and again, a line with a number and that many bytes for xl; or one of `Order`. On its
/// standard output come xl's banner, then a line for each piece that has gone into xl's input, then `ended`.
enum XlPeerScript {
    /// Lines of ours.
    enum Order: String {
        /// Kill xl and its domain.
        case end
        /// Take nothing more, and wait for a person.
        case hold
    }

    static let acknowledged = "remusd-ack", ended = "remusd-ended"

    /// The script for a guest, whose name has the form of `GuestName`.
    static func text(guest: String) -> String {
        """
        name=\(quoted(guest))
        run=${REMUSD_XL_RUN:-/run}/remusd-xl-$name.pid
        PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
        command -v xl >/dev/null || { echo "remusd: there is no xl here" >&2; exit 127; }
        old=$(cat "$run" 2>/dev/null)
        if [ -n "$old" ] && grep -q "remusd-xl-" "/proc/$old/cmdline" 2>/dev/null; then
          kill -TERM "$old"
          n=0
          while kill -0 "$old" 2>/dev/null; do
            n=$((n + 1))
            [ "$n" -lt 300 ] || { echo "remusd: an earlier xl of $name does not end" >&2; exit 75; }
            sleep 0.1
          done
        fi
        word=
        trap "word=activate" USR1
        trap "word=drop" TERM INT
        trap "" HUP PIPE
        feed='while read -r n; do
          case $n in
            end) exit 10 ;;
            hold) exit 11 ;;
          esac
          dd bs="$n" count=1 iflag=fullblock 2>/dev/null >&3 || exit 12
          echo "remusd-ack $n" || exit 11
        done
        exit 11'
        umask 077
        dir=$(mktemp -d) && mkfifo "$dir/in" || exit 73
        exec 4<&0
        setsid xl migrate-receive -r <"$dir/in" 4<&- &
        xl=$!
        exec 3>"$dir/in"
        rm -r "$dir"
        echo $$ >"$run" || { kill -9 "-$xl" "$xl" 2>/dev/null; exit 73; }
        setsid sh -c "$feed" <&4 &
        feeder=$!
        exec 4<&-
        wait "$feeder"
        code=$?
        case $word$code in
          10) word=drop ;;
          11)
            echo "remusd: $name is kept here: kill -USR1 $$ activates it, kill -TERM $$ drops it" >&2
            wait "$xl"
            ;;
        esac
        kill -9 "-$feeder" 2>/dev/null
        if [ "$word" = activate ]; then
          rm -f "$run"
          exec 3>&-
          wait "$xl"
          exit
        fi
        kill -9 "-$xl" 2>/dev/null
        wait "$xl"
        exec 3>&-
        echo "remusd-ended"
        xl destroy "$name--incoming" 2>/dev/null
        rm -f "$run"
        """
    }

    /// `text` as one word for a shell.
    static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }
}
