/* Turns profiles on standard input into programs on standard output, by libseccomp.
 *
 * A line a word: "new ACTION", "arch TOKEN", "without TOKEN", "rule ACTION NAME COUNT {INDEX OP A B}", "end".
 * A program comes as its length in bytes and the bytes; the length is 0 where libseccomp
 * refuses a rule. */
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    char word[64];
    scmp_filter_ctx filter = NULL;
    uint32_t default_action = 0;
    int failed = 0;
    while (scanf("%63s", word) == 1) {
        if (!strcmp(word, "new")) {
            if (scanf("%" SCNu32, &default_action) != 1) return 2;
            filter = seccomp_init(default_action);
            failed = !filter;
        } else if (!strcmp(word, "arch")) {
            uint32_t token;
            if (scanf("%" SCNu32, &token) != 1) return 2;
            seccomp_arch_add(filter, token);
        } else if (!strcmp(word, "without")) {
            uint32_t token;
            if (scanf("%" SCNu32, &token) != 1) return 2;
            seccomp_arch_remove(filter, token);
        } else if (!strcmp(word, "rule")) {
            uint32_t action, count;
            struct scmp_arg_cmp args[6];
            if (scanf("%" SCNu32 " %63s %" SCNu32, &action, word, &count) != 3) return 2;
            for (uint32_t i = 0; i < count; i++) {
                unsigned index, op;
                if (scanf("%u %u %" SCNu64 " %" SCNu64, &index, &op, &args[i].datum_a,
                          &args[i].datum_b) != 4)
                    return 2;
                args[i].arg = index;
                args[i].op = op;
            }
            int number = seccomp_syscall_resolve_name(word);
            if (action == default_action || number == __NR_SCMP_ERROR) continue;
            failed |= seccomp_rule_add_array(filter, action, number, count, args) != 0;
        } else {
            static char program[1 << 16];
            FILE *file = tmpfile();
            if (!file || seccomp_export_bpf(filter, fileno(file))) return 3;
            rewind(file);
            uint32_t size = fread(program, 1, sizeof program, file);
            fclose(file);
            if (failed) size = 0;
            fwrite(&size, sizeof size, 1, stdout);
            fwrite(program, 1, size, stdout);
            seccomp_release(filter);
        }
    }
    return 0;
}
