HOST="vc\u002eexample.com";
USERNAME="back\x75p";
EXCLUDE_DISKS="a \"quoted\" disk, it\'s";
BACKUPROOT="\/srv\/vcb";
PASSWORD="\u00e9\\";
CA_FILE="\u00zz";
