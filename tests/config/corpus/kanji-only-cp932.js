// Ú‘±æ
HOST="vc.example.com";
USERNAME="backup"; // ŠÇ—Ò
